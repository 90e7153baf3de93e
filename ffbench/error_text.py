"""What of an error fits into one line of ours."""


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
