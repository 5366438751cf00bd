"""What `/v1/models` answers: the engines that the fleet advertises, and the conversation they make. Pure."""

from collections.abc import Iterable

from config.errors import NotFound
from config.redis_keys import STAGES
from tasks.fleet import Member
from web.answers import Model, ModelList, ModelServed

#: The model that a session names; every other name is taken for it.
CONVERSATION = "antiphon"


def listed(members: Iterable[Member]) -> ModelList:
    """The conversation first, then each engine once, in the order in which a turn meets them."""
    working = [member for member in members if member.stage in STAGES and member.works and member.model]
    working.sort(key=lambda member: STAGES.index(member.stage))
    names = dict.fromkeys(member.model for member in working if member.model != CONVERSATION)
    engines = [_model(name, [member for member in working if member.model == name]) for name in names]
    return ModelList([_model(CONVERSATION, working), *engines])


def _model(name: str, members: list[Member]) -> Model:
    served = ModelServed(
        stages=list(dict.fromkeys(member.stage for member in members)),
        workers=len(members),
        slots=sum(member.slots for member in members),
        free=sum(member.free for member in members),
    )
    return Model(name, 0, CONVERSATION, served)


def named(name: str, members: Iterable[Member]) -> Model:
    """Raises NotFound where nobody serves it."""
    for model in listed(members).data:
        if model.id == name:
            return model
    raise NotFound("no worker here serves a model of this name", code="model_not_found", param="model")
