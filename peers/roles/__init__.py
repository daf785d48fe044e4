"""What a process can be in a run: a peer that trains, an assistant, an archivist, an observer; and its stay there."""
