"""The loop that everybody writes first: forward, backward, clipping, torch's fused AdamW, samples in memory."""

from __future__ import annotations

from benchmarks.text import Text


class PlainLoop:
    """batch: samples in an optimizer step. held: samples that lie in memory."""

    def __init__(self, text: Text, batch: int, micro_batch: int, held: int) -> None:
        import torch

        from swarm.model.bloom import model_from_vector, starting_vector
        from swarm.model.precision import best_precision

        batches = text.batches("plain", held)
        batches.begin(0, ())
        self.samples = torch.as_tensor(batches.next(held).input_ids)
        self.model = model_from_vector(text.manifest.model, starting_vector(text.manifest.model))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.batch, self.micro_batch = batch, micro_batch
        self.lower = best_precision(torch.device("cpu")) != "float32"

    def optimizer_bytes(self) -> int:
        values = [value for state in self.optimizer.state.values() for value in state.values()]
        return sum(value.numel() * value.element_size() for value in values)

    def averaging_bytes(self) -> int:
        return 0

    def peak_before_round(self) -> int:
        return 0

    def turn(self, count: int) -> int:
        """Train on `count` samples."""
        import torch

        for start in range(0, count, self.batch):
            for first in range(start, start + self.batch, self.micro_batch):
                ids = self.samples[first : first + self.micro_batch]
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.lower):
                    loss = self.model(input_ids=ids, labels=ids, use_cache=False).loss
                (loss * (self.micro_batch / self.batch)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return count
