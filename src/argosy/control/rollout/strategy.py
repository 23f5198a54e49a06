"""How a rollout goes on: from one pass to the next, by its strategy. Pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from argosy.control.rollout.progress import count, enter
from argosy.spec.guard import Advice
from argosy.spec.revision import RevisionStatus
from argosy.spec.rollout import Rollout
from argosy.store.endpoints import WENT_BACK, Progress, Serving

WHOLE = 100
"""What the weights of a route add up to, if it has any."""
UNSTEADY = 3
"""How many more replicas of the candidate than of the stable one may have to be replaced: one request can end two."""
NO_STABLE = "the stable revision is not ready, so that a shadow has nothing to be compared with; promote skips it"
HALF = 50
"""What a rolling candidate may have before its guard is sure, or its caches are warm."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration: this revision, this many replicas, and how it is to come about. `elastic`: the replicas follow
    the load, for the stable revision too. `generation` counts declarations: the same one does not start over."""

    revision: str
    replicas: int
    elastic: bool = False
    generation: int = 0
    policy: Rollout = Rollout()
    guarded: bool = False


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """`wanted` None: the endpoint was deleted. `routed`: the revisions in the snapshot the gateway confirmed. `exposed`
    counts the candidate's requests since the rollout began; `now` is in seconds since 1970. `cached`: of a language
    model, the shares of the candidate's and of the stable's prompts that were found in KV caches of late."""

    wanted: Wanted | None
    running: Mapping[str, RevisionStatus] = {}
    routed: frozenset[str] = frozenset()
    now: float = 0.0
    guard: Advice = Advice()
    comparison: Advice = Advice()
    exposed: int = 0
    cached: tuple[float, float] | None = None

    def of(self, revision: str | None) -> RevisionStatus:
        """The status of a revision; without replicas, where it does not run."""
        return self.running.get(revision or "", RevisionStatus())


def advance(observed: Observation, wanted: Wanted, state: Serving) -> Serving:
    state = _declared(observed, wanted, state)
    if state.rollout is None or not state.rollout.live:
        return state
    progress = msgspec.structs.replace(state.rollout, generation=wanted.generation)
    if wanted.elastic:
        wanted = _awake(wanted)
        progress = msgspec.structs.replace(progress, held=wanted.replicas)
    state = msgspec.structs.replace(state, held=wanted.replicas if wanted.elastic else state.held)
    return _moved(
        observed, wanted, state, count(progress, observed.now, observed.exposed, _counted(observed, progress))
    )


def _counted(observed: Observation, progress: Progress) -> tuple[int, int]:
    return observed.of(progress.candidate).replaced, observed.of(progress.stable).replaced


def _awake(wanted: Wanted) -> Wanted:
    """Nothing is at zero during a rollout: what does not run can be neither compared nor gone back to."""
    return msgspec.structs.replace(wanted, replicas=max(1, wanted.replicas))


def _declared(observed: Observation, wanted: Wanted, state: Serving) -> Serving:
    """Begin, supersede or leave alone, as the declaration says."""
    last = state.rollout
    if state.active == wanted.revision:
        if last is not None and last.live and last.candidate != wanted.revision:
            last = enter(last, "superseded", reason="the stable revision was declared again")
        return Serving(active=state.active, held=wanted.replicas, rollout=last)
    if last is not None and last.candidate == wanted.revision and (last.live or last.generation == wanted.generation):
        return state
    stops = not wanted.replicas and not wanted.elastic
    if state.active is None or stops:
        if last is not None and last.live:
            last = enter(last, "superseded", reason="another declaration came")
        if observed.of(wanted.revision).ready or stops:
            return Serving(active=wanted.revision, held=wanted.replicas, rollout=last)
        return state
    return msgspec.structs.replace(state, rollout=_begun(observed, wanted, state.active, state))


def _begun(observed: Observation, wanted: Wanted, stable: str, state: Serving) -> Progress:
    begun = Progress(
        number=state.rollout.number + 1 if state.rollout else 1,
        candidate=wanted.revision,
        stable=stable,
        held=state.held,
        generation=wanted.generation,
        looked=observed.now,
    )
    return msgspec.structs.replace(begun, counted=_counted(observed, begun))


def _moved(observed: Observation, wanted: Wanted, state: Serving, progress: Progress) -> Serving:
    candidate, stable = observed.of(progress.candidate), observed.of(progress.stable)
    if progress.order == "abort":
        return _back(state, progress, "aborted", "on demand")
    if harm := _harm(observed, progress, candidate):
        return _back(state, progress, "rolled-back", harm)
    if progress.phase == "warm":
        if progress.spent >= wanted.policy.keep_warm:
            progress = enter(progress, "done", reason=progress.reason)
        return msgspec.structs.replace(state, rollout=progress)
    whole = candidate.ready >= wanted.replicas or (candidate.ready > 0 and not stable.ready)
    if progress.order == "promote" and whole:
        return _promoted(wanted, progress, "on demand")
    if progress.phase == "starting" and wanted.policy.shadow:
        if whole and stable.ready:
            progress = enter(progress, "shadowing")
        else:
            progress = msgspec.structs.replace(progress, reason="" if stable.ready else NO_STABLE)
        return msgspec.structs.replace(state, rollout=progress)
    if progress.phase == "shadowing" and not _shadowed(observed, wanted, progress, whole):
        waits = "paused on demand" if progress.paused else observed.comparison.reason
        return msgspec.structs.replace(state, rollout=msgspec.structs.replace(progress, reason=waits))
    if progress.phase in ("starting", "shadowing"):
        return _started(wanted, state, progress, candidate, whole)
    return _shifted(observed, wanted, state, progress, whole)


def _harm(observed: Observation, progress: Progress, candidate: RevisionStatus) -> str:
    """Why the stable revision takes the traffic back, if it does. A promotion on demand asks no guard."""
    guarded = progress.phase != "starting" and progress.order != "promote"
    if guarded and (why := _unsteady(progress, candidate)):
        return why
    if candidate.failed and not candidate.ready:
        return f"it does not become ready: {candidate.failed}"
    if guarded and observed.guard.verdict == "rollback":
        return observed.guard.reason or "the guard found harm"
    if guarded and progress.phase == "shadowing" and observed.comparison.verdict == "rollback":
        return observed.comparison.reason or "its answers differ"
    return ""


def _unsteady(progress: Progress, candidate: RevisionStatus) -> str:
    """Why a candidate is no good whose replicas must be replaced again and again, while the stable's need not."""
    mine, theirs = progress.replaced
    if mine - theirs < UNSTEADY:
        return ""
    return f"its replicas had to be replaced {mine} times (the stable's: {theirs}); the last: {candidate.trouble}"


def _back(state: Serving, progress: Progress, phase: Literal["rolled-back", "aborted"], reason: str) -> Serving:
    over = msgspec.structs.replace(enter(progress, phase, reason=reason), weight=0)
    return Serving(active=progress.stable, held=progress.held, rollout=over)


def _promoted(wanted: Wanted, progress: Progress, reason: str) -> Serving:
    progress = msgspec.structs.replace(enter(progress, "warm", reason=reason), weight=WHOLE)
    if not wanted.policy.keep_warm or wanted.policy.strategy == "recreate":
        progress = enter(progress, "done", reason=reason)
    return Serving(active=progress.candidate, held=wanted.replicas, rollout=progress)


def _started(wanted: Wanted, state: Serving, progress: Progress, candidate: RevisionStatus, whole: bool) -> Serving:
    """The candidate is ready enough for its first request, or it is waited for."""
    policy = wanted.policy
    if policy.strategy in ("recreate", "blue-green"):
        if whole:
            return _promoted(wanted, progress, "it is ready")
        return msgspec.structs.replace(state, rollout=progress)
    if policy.strategy == "rolling" and whole and not wanted.guarded and policy.warm_caches is None:
        return _promoted(wanted, progress, "every replica is ready")
    if whole or (policy.strategy == "rolling" and candidate.ready):
        progress = enter(progress, "shifting")
        progress = msgspec.structs.replace(progress, weight=_share(wanted, progress, candidate))
    return msgspec.structs.replace(state, rollout=progress)


def _shadowed(observed: Observation, wanted: Wanted, progress: Progress, whole: bool) -> bool:
    """Whether the shadow is over: it has ended well, or is not asked for any more."""
    return not progress.paused and whole and (wanted.policy.shadow is None or observed.comparison.verdict == "advance")


def _shifted(observed: Observation, wanted: Wanted, state: Serving, progress: Progress, whole: bool) -> Serving:
    """The next step, once its minimum is reached, nobody paused it and the guard is sure."""
    candidate = observed.of(progress.candidate)
    sure = not wanted.guarded or observed.guard.verdict == "advance"
    cold = _cold(observed, wanted, progress)
    if not progress.paused and sure and whole and not cold and _minimum(wanted, progress):
        if progress.step + 1 >= len(wanted.policy.path):
            return _promoted(wanted, progress, observed.guard.reason or "every step was passed")
        progress = enter(progress, "shifting", step=progress.step + 1)
    judged = observed.guard.reason if wanted.guarded else ""
    waits = "paused on demand" if progress.paused else cold if sure and cold else judged
    weight = _share(wanted, progress, candidate)
    return msgspec.structs.replace(state, rollout=msgspec.structs.replace(progress, weight=weight, reason=waits))


def _cold(observed: Observation, wanted: Wanted, progress: Progress) -> str:
    """Why the candidate's caches are waited for, if they are."""
    declared = wanted.policy.warm_caches
    if declared is None or observed.cached is None or progress.spent >= declared.seconds:
        return ""
    mine, theirs = observed.cached
    if mine >= declared.share * theirs:
        return ""
    found = f"{mine:.0%} of the candidate's prompts are found in its caches, {theirs:.0%} of the stable's"
    return f"waits for warm caches: {found}; at most {declared.seconds - progress.spent:.0f} s more"


def _minimum(wanted: Wanted, progress: Progress) -> bool:
    path = wanted.policy.path
    if not path:
        return True
    step = path[min(progress.step, len(path) - 1)]
    return progress.spent >= step.seconds and progress.served >= step.requests


def _share(wanted: Wanted, progress: Progress, candidate: RevisionStatus) -> int:
    """The candidate's percent of the traffic. It grows with its replicas when rolling, and not while paused."""
    path = wanted.policy.path
    if path:
        return path[min(progress.step, len(path) - 1)].weight
    if progress.paused and progress.weight:
        return progress.weight
    most = HALF if wanted.guarded or wanted.policy.warm_caches else WHOLE - 1
    return min(most, max(1, WHOLE * candidate.ready // max(1, wanted.replicas)))


def weights(observed: Observation, state: Serving) -> tuple[tuple[str, int], ...]:
    """Who gets which percent. Of two revisions only those that are ready count; where none is, the one that serves
    keeps the route, so that callers are told to come again and not that there is nothing."""
    progress = state.rollout
    if state.active is None:
        return ()
    if progress is None or not progress.live or progress.phase in ("starting", "shadowing"):
        return ((state.active, WHOLE),)
    share = progress.weight
    if not observed.of(progress.candidate).ready:
        share = 0 if observed.of(progress.stable).ready or progress.phase != "warm" else share
    elif not observed.of(progress.stable).ready:
        share = WHOLE
    pairs = ((progress.stable, WHOLE - share), (progress.candidate, share))
    return tuple(pair for pair in pairs if pair[1])


def shadow(observed: Observation, state: Serving) -> str:
    """The revision that gets copies of requests, if any: its answers go to nobody."""
    progress = state.rollout
    if progress is None or progress.phase != "shadowing" or not observed.of(progress.candidate).ready:
        return ""
    return progress.candidate


def scales(observed: Observation, wanted: Wanted, state: Serving) -> list[tuple[str, int]]:
    """How many replicas each revision shall have; those that are not named are let go."""
    progress = state.rollout
    if progress is None or not progress.live:
        went_back = progress is not None and progress.phase in WENT_BACK and progress.candidate == wanted.revision
        if state.active is None:
            return [(wanted.revision, wanted.replicas)]
        if state.active != wanted.revision or went_back:
            return [(state.active, wanted.replicas if wanted.elastic else state.held)]
        return [(wanted.revision, wanted.replicas)]
    wanted = _awake(wanted) if wanted.elastic else wanted
    if wanted.policy.strategy == "recreate" and progress.phase == "starting" and not wanted.policy.shadow:
        stopped = all(each.phase == "asleep" for each in observed.of(progress.stable).replicas)
        return [(progress.stable, 0), (progress.candidate, wanted.replicas if stopped else 0)]
    return [(progress.stable, progress.held), (progress.candidate, wanted.replicas)]
