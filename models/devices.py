"""Where a network runs: what `--device` means."""

import torch


def pick_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: cpu, cuda, cuda:1, or auto: the GPU where there is one.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        told = str(error).splitlines()[0]
        raise ValueError(f"--device {name}: {told}; use --device cpu or auto") from error
    return device
