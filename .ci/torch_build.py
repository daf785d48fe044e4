"""Say which torch was installed, and stop when `make install TORCH=cuda` got one without CUDA."""

import sys

import torch

wanted = sys.argv[1] if len(sys.argv) > 1 else "cpu"
found = f"cuda {torch.version.cuda}" if torch.version.cuda else "cpu"
if wanted not in {"cpu", "cuda"}:
    sys.exit(f"TORCH={wanted} is not known; use TORCH=cpu or TORCH=cuda")
if wanted == "cuda" and not torch.version.cuda:
    sys.exit(
        f"torch {torch.__version__} has no CUDA; run: make install TORCH=cuda TORCH_INDEX=<the index address that "
        "PyTorch's 'Get Started' page names for your CUDA version>"
    )
print(f"torch {torch.__version__} ({found} build)")
if wanted == "cpu" and torch.version.cuda:
    print("This is the large CUDA build; a smaller one: make clean install TORCH_INDEX=<PyTorch's CPU index address>")
