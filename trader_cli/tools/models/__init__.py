"""Models: one port, `Model.answer(Question) -> Answer`."""
