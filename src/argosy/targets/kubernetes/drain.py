"""Which pods go when there are too many: pure.

A ReplicaSet takes away pods that are on no node, then those that are not ready, then those whose deletion costs less.
Victims are marked so that they cost less, drained like any replica, and only once the gateway has released all of them
is the number of pods lowered. What dies instead was deleted by somebody else or was not ready, and is drained as soon
as it is seen to go; a victim that is not needed any more then serves again.
"""

from collections.abc import Collection, Mapping

import msgspec

from argosy.targets.kubernetes.observe import Pod


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How many pods there shall be, how many the cluster was told, and those there are, as it has them now. From nodes
    that are `leaving` (names or addresses) pods go, once as many as are wanted serve elsewhere."""

    want: int
    told: int
    pods: Collection[Pod] = ()
    leaving: Collection[str] = ()


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The victims by name, and whether the gateway has released each."""

    victims: Mapping[str, bool] = {}


class Moves(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell the cluster: how many pods, None where it stays; which of them to mark and which no more."""

    replicas: int | None = None
    mark: tuple[str, ...] = ()
    unmark: tuple[str, ...] = ()


def decide(observed: Standing, state: State) -> tuple[Moves, State]:
    """What to do now, and what to remember. A pod that was marked by an earlier controller is a victim still."""
    here = {pod.name: pod for pod in observed.pods if pod.here}
    known = {name: released for name, released in state.victims.items() if name in here}
    known |= {name: False for name, pod in here.items() if pod.marked and name not in known}
    moving = {name for name, pod in here.items() if not {pod.node, pod.host}.isdisjoint(observed.leaving)}
    served = sum(pod.ready and not pod.marked for name, pod in here.items() if name not in moving) >= observed.want
    want = observed.want if served else observed.want + len(moving)
    surplus = max(0, len(here) - want)
    order = sorted(here.values(), key=lambda pod: (pod.name not in moving, *_rank(pod, known)))[:surplus]
    victims = {pod.name: known.get(pod.name, False) for pod in order}
    gone = all(victims[pod.name] and pod.marked for pod in order)
    told = want if want > observed.told or (want < observed.told and gone) else None
    mark = tuple(pod.name for pod in order if not pod.marked)
    unmark = tuple(sorted(name for name, pod in here.items() if pod.marked and name not in victims))
    return Moves(replicas=told, mark=mark, unmark=unmark), State(victims=victims)


def release(state: State, replicas: Collection[str]) -> State:
    """The gateway sends these nothing more."""
    return State(victims={name: done or name in replicas for name, done in state.victims.items()})


def _rank(pod: Pod, known: Mapping[str, bool]) -> tuple[bool, bool, bool, float, str]:
    """First what was released, then what drains already, what is not ready, what is young."""
    return not known.get(pod.name, False), pod.name not in known, pod.ready, -pod.born, pod.name
