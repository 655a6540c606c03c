"""The command ``maskbridge``. Public are its commands, not these modules."""

__all__: list[str] = []
