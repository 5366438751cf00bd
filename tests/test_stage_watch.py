"""When work is missed and what is done about it, second by second."""

from config.tuning import OwnershipSettings
from web.stage_watch import StageWatch, Verdict

RULES = OwnershipSettings(claim_timeout_s=2.0, tell_after_s=1.0)


def watch() -> StageWatch:
    return StageWatch("llm", reply=1, submitted_s=0.0, missing_since_s=0.0)


def test_work_whose_owner_died_is_sent_again_at_once() -> None:
    missed = watch()
    missed.seen(5.0)
    assert missed.judge(5.1, RULES, room=False) is Verdict.RESUBMIT


def test_work_that_nobody_took_is_sent_again_only_when_somebody_has_room() -> None:
    missed = watch()
    missed.told = True
    assert missed.judge(1.9, RULES, room=True) is Verdict.FINE
    assert missed.judge(2.1, RULES, room=False) is Verdict.FINE
    assert missed.judge(2.1, RULES, room=True) is Verdict.RESUBMIT


def test_the_client_is_told_once_that_nobody_works_for_it() -> None:
    missed = watch()
    assert missed.judge(0.9, RULES, room=False) is Verdict.FINE
    assert missed.judge(1.1, RULES, room=False) is Verdict.WAITING
    missed.told = True
    assert missed.judge(9.0, RULES, room=False) is Verdict.FINE


def test_only_owners_that_died_count_as_tries() -> None:
    missed = watch()
    missed.submitted(3.0)
    assert missed.tries == 1
    missed.seen(4.0)
    missed.submitted(6.0)
    assert missed.tries == 2
