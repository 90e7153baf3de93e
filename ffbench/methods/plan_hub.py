"""Plans on the Hugging Face hub, by huggingface_hub's mixin."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin

from ffbench.error_text import first_line
from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.methods.plan_files import FILES, HEADER, load_plan, save_plan


class HubPlan(  # type: ignore[misc]
    ModelHubMixin, library_name="ffbench", tags=["ffbench", "sparse-prefill"]
):
    """A plan with the mixin's `from_pretrained` and `push_to_hub`.

    A class of its own: the mixin records constructor arguments as configuration, and those of a
    plan are tensors.
    """

    plan: SparsePlan

    def _save_pretrained(self, save_directory: Path) -> None:
        save_plan(self.plan, save_directory)
        # the hub counts downloads by this file
        config = save_directory / "config.json"
        config.write_text('{"library_name": "ffbench"}\n', encoding="utf-8")

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **unused: Any,
    ) -> "HubPlan":
        import huggingface_hub

        folder = huggingface_hub.snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=list(FILES),
        )
        if not (Path(folder) / HEADER).exists():
            raise PlanError(f"plan {model_id}: the repository has no {HEADER}")
        hub_plan = cls()
        hub_plan.plan = load_plan(Path(folder), None)
        return hub_plan


def hub_error(action: str, name: str, error: Exception) -> PlanError:
    """What to do about an error of the hub's client; its token is in no message."""
    return PlanError(
        f"plan {name}: cannot be {action} ({type(error).__name__}: {first_line(error)}); check the "
        "id and the network, log in with `hf auth login` or set HF_TOKEN, or use a folder"
    )


def plan_from_hub(name: str, **options: Any) -> SparsePlan:
    """The plan of a hub repository. Raises PlanError."""
    try:
        return HubPlan.from_pretrained(name, **options).plan
    except PlanError:
        raise
    except Exception as error:  # noqa: BLE001 - httpx, hub, validation: the client raises many kinds
        raise hub_error("fetched", name, error) from error


def plan_to_hub(plan: SparsePlan, name: str, **options: Any) -> str:
    """Upload a plan; returns the commit's address. Raises PlanError."""
    hub_plan = HubPlan()
    hub_plan.plan = plan
    try:
        return str(hub_plan.push_to_hub(name, **options))
    except Exception as error:  # noqa: BLE001 - httpx, hub, validation: the client raises many kinds
        raise hub_error("uploaded", name, error) from error
