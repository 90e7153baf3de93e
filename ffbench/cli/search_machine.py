"""The machine that would time a run now, as results of searches name it."""

from ffbench.search.machines import TimingMachine
from ffbench.settings import RunSettings


def this_machine(settings: RunSettings) -> TimingMachine:
    """The machine that times a run of these settings in this process. Raises ModelError if it does
    not have their device.
    """
    import torch

    from ffbench.models.device import resolve_device
    from ffbench.runs.provenance import cpu_name, gpu_name

    device = resolve_device(settings.model.device)
    return TimingMachine(
        device.type,
        gpu_name(str(device)),
        cpu_name(),
        torch.backends.cpu.get_cpu_capability(),
        settings.kernel.threads or torch.get_num_threads(),
    )
