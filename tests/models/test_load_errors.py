"""Errors of the hub and of other libraries in one line that says what to do."""

from typing import Any

import pytest

from ffbench.models.loading import ModelError, ModelSpec, load_model

NO_CONNECTION = (
    "We couldn't connect to 'https://huggingface.co' to load the files. Check your internet connection "
    "or see how to run the library in offline mode at 'https://huggingface.co/docs'."
)
PRIVATE = "If you are trying to access a private or gated repo, make sure you are authenticated"


def hub_error(name: str, text: str = "") -> Exception:
    import httpx
    from huggingface_hub import errors

    response = httpx.Response(401, request=httpx.Request("GET", "https://huggingface.co/x"))
    kind = getattr(errors, name)
    return kind(text, response=response) if issubclass(kind, errors.HfHubHTTPError) else kind(text)


CAUSES = [
    (lambda: hub_error("GatedRepoError"), "accept the licence at https://huggingface.co/org/name"),
    (lambda: hub_error("RepositoryNotFoundError"), "the hub has no such model, or it is private"),
    (lambda: hub_error("RevisionNotFoundError"), "check model.revision"),
    (lambda: OSError("503 Server Error: Service Unavailable"), "the hub answered HTTP 503"),
    (lambda: OSError("429 Client Error: Too Many Requests"), "the hub answered HTTP 429"),
    (lambda: hub_error("OfflineModeIsEnabled", "offline mode is enabled"), "HF_HUB_OFFLINE is set"),
    (lambda: hub_error("RepositoryNotFoundError", PRIVATE), "no such model, or it is private;"),
    (lambda: hub_error("DisabledRepoError", "Access is disabled"), "the hub has disabled this"),
    (
        lambda: hub_error("HfHubHTTPError", "Client error '401 Unauthorized' for url"),
        "HTTP 401; your",
    ),
    (
        lambda: hub_error("HfHubHTTPError", "Server error '502 Bad Gateway' for"),
        "HTTP 502; try again",
    ),
    (
        lambda: hub_error("LocalEntryNotFoundError", NO_CONNECTION),
        "cannot be reached and the cache",
    ),
    (
        lambda: OSError("It looks like the config file at '/c.json' is not a valid JSON file."),
        "(a login",
    ),
    (
        lambda: ValueError("Unrecognized model in org/name. Should have a"),
        "not as a transformers model",
    ),
    (lambda: OSError(NO_CONNECTION), "We couldn't connect"),
    (
        lambda: ConnectionError("no route to host"),
        "be reached (no route to host); check the network",
    ),
    (lambda: ValueError("pass the argument `trust_remote_code=True`"), "model.trust_remote_code="),
    (
        lambda: ValueError("model type `tinyllm` but Transformers does not recognize this"),
        "does not know model_type 'tinyllm'",
    ),
    (lambda: ImportError("No module named 'sentencepiece'"), "a package is missing"),
    (lambda: MemoryError(), "not enough memory"),
    (lambda: KeyError("num_heads"), "KeyError: 'num_heads'"),
    (lambda: ZeroDivisionError(), "ZeroDivisionError"),
]


@pytest.mark.parametrize(("make", "text"), CAUSES, ids=[text for _, text in CAUSES])
def test_errors_of_other_libraries_say_what_to_do(
    make: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        error = make()
        if type(error).__module__.startswith("huggingface_hub"):  # transformers wraps these
            raise OSError("You are trying to access something") from error
        raise error

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", fail)
    with pytest.raises(ModelError) as refused:
        load_model(ModelSpec("x", "hub", "org/name"))
    assert text in str(refused.value) and "\n" not in str(refused.value)
