"""Other libraries' errors while a model is loaded, as one sentence with the setting that helps."""

import re
import socket
from collections.abc import Iterator

# A server's refusal in the texts of requests (the first) and of httpx.
STATUS = re.compile(
    r"\b(4\d\d|5\d\d) (?:Client|Server) Error|(?:Client|Server) error '(4\d\d|5\d\d)"
)
UNREACHED = (ConnectionError, TimeoutError, socket.gaierror)
LOCAL_COPY = "or give a local copy with model=folder model.name=NAME model.location=PATH"


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def first_sentence(error: BaseException) -> str:
    """An error's type and the first line of its text."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    # some libraries put the reason behind a heading
    text = " ".join(line.strip() for line in lines[:2]) if lines[0].endswith(":") else lines[0]
    return text if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {text}"


def explanation(error: BaseException, location: str, source: str) -> str:
    """One sentence: why the model at `location` cannot be loaded and what to do."""
    return f"model: {location!r} could not be loaded: {reason(error, location, source)}"


def reason(error: BaseException, location: str, source: str) -> str:
    """The cause in our words where it is known, else the library's own."""
    names = [type(link).__name__ for link in chain(error)]
    text = " ".join(str(link) for link in chain(error))
    if source == "hub" and (answer := hub_answer(location, names, text)):
        return answer
    if "trust_remote_code" in text:
        return (
            "it needs Python code from its own repository; read that code, then set "
            "model.trust_remote_code=true"
        )
    if unknown := re.search(r"model type [`'\"]?([\w.-]+)[`'\"]? but Transformers does not", text):
        return f"transformers does not know model_type {unknown[1]!r}; a newer release may"
    if any(isinstance(link, ImportError) for link in chain(error)):
        return f"a package is missing: {first_sentence(error)}"
    if any(name in ("MemoryError", "OutOfMemoryError") for name in names):
        return (
            "not enough memory; use a smaller dtype or another device (model.dtype, model.device)"
        )
    return file_reason(error, source, text, names)


def file_reason(error: BaseException, source: str, text: str, names: list[str]) -> str:
    """The cause when files are damaged or missing, or the network fails."""
    if "SafetensorError" in names:
        return f"a weights file is damaged ({first_sentence(error)}); fetch it again"
    if source != "hub":
        known = isinstance(error, (OSError, ValueError))
        hint = "" if known else "; a file of it is damaged, or not as transformers expects it"
        return first_sentence(error) + hint
    return hub_file_reason(error, text, names)


def hub_answer(location: str, names: list[str], text: str) -> str | None:
    """Why the hub does not give a model, from its answer; None if it gave another answer or none.

    By the types of the errors and the status: transformers and the hub's client mention gated
    models and the offline mode in the texts of errors that have another cause.
    """
    if "GatedRepoError" in names:
        return (
            f"its weights are gated; accept the licence at https://huggingface.co/{location}, then "
            f"log in with `hf auth login` or set HF_TOKEN, {LOCAL_COPY}"
        )
    if "DisabledRepoError" in names:
        return f"the hub has disabled this model; choose another one, {LOCAL_COPY}"
    if "RevisionNotFoundError" in names:
        return "the hub has no such revision; check model.revision"
    if "RepositoryNotFoundError" in names:
        return (
            "the hub has no such model, or it is private; check model.location, log in with "
            f"`hf auth login` or set HF_TOKEN, {LOCAL_COPY}"
        )
    status = STATUS.search(text)
    if status is None:
        return None
    answered = f"the hub answered HTTP {status[1] or status[2]}"
    if answered.endswith(("401", "403")):
        return (
            f"{answered}; your token is not valid or may not read this model: log in again with "
            f"`hf auth login`, or correct or unset HF_TOKEN, {LOCAL_COPY}"
        )
    return f"{answered}; try again later, {LOCAL_COPY}"


def hub_file_reason(error: BaseException, text: str, names: list[str]) -> str:
    """The cause when the hub gave no answer, or files that are no model's."""
    if "OfflineModeIsEnabled" in names or "outgoing traffic has been disabled" in text:
        return f"HF_HUB_OFFLINE is set and the cache lacks it; unset it, {LOCAL_COPY}"
    if damaged := re.search(r"config file at '([^']+)' is not a valid JSON", text):
        return (
            f"{damaged[1]} is not JSON; the network may have answered in place of the hub (a login "
            f"page): remove that file and check the network, {LOCAL_COPY}"
        )
    if re.search(r"Unrecognized model in|does not appear to have a file named", text):
        return (
            "the hub has it, but not as a transformers model (no config.json with a model_type, or "
            f"no weights); check model.location, {LOCAL_COPY}"
        )
    if unreached := next((link for link in chain(error) if isinstance(link, UNREACHED)), None):
        why = first_sentence(unreached)
        return f"the hub cannot be reached ({why}); check the network, {LOCAL_COPY}"
    if "LocalEntryNotFoundError" in names:
        return f"the hub cannot be reached and the cache lacks it; check the network, {LOCAL_COPY}"
    return f"{first_sentence(error)}; check the network, {LOCAL_COPY}"
