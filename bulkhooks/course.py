"""The course of one item: its steps in order, each marked, sent, read back; and the way back.

Workers take a lane's items one after another from a queue that the journal is.
"""

from __future__ import annotations

import math
from asyncio import Event, TaskGroup
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from . import actions, hooks, steps
from .auth0 import HELD_UP, TRIES, ManagementClient
from .errors import Ended, Gone, ItemError, NoActions, Stopped, TenantError, Unsure
from .gates import Together
from .items import ABSENT, APPLIED, UNCHANGED, Call, Fields, Item, Outcome, Seen, State, Step
from .journal import Journal
from .lane import Lane
from .permit import Wall

#: Items that a lane holds at once; the journal is the queue.
_PAGE: Final = 64
#: Items that wait for others of their hook or trigger before a lane stops looking for more.
_BLOCKED: Final = 1024
#: Items that a worker is started for: with less to do it would mostly open its connection. Where
#: a write is not answered within so many seconds, another worker goes on beside it.
_A_WORKER, _STUCK = 3, 1.0
#: Seconds for which a list, or a draft, that a step writes whole or deploys is taken to be as it
#: was read: a write may have to wait for its turn.
_STALE: Final = 10.0
#: Items after which a lane's requests are written down: a killed apply loses no more of them.
_COUNT_EVERY: Final = 100

_REPLAN: Final = "look at it, then `apply --replan`"
_BREAKS: Final = "its writes break; see whether the tenant works, then apply --failed"
_LOOK: Final = "look at what else the trigger has"
_OK: Final = (State.APPLIED, State.UNCHANGED)


#: Writes that wait for their answer: how each lets others go on.
Unanswered: TypeAlias = Together[Callable[[], None], None]


def unanswered() -> Unanswered:
    """For the writes of lanes that are carried out together."""

    def let_others(group: dict[Callable[[], None], None]) -> None:
        for go_on in tuple(group):
            go_on()

    return Together(_STUCK, let_others)


async def carry_out(journal: Journal, lane: Lane, wall: Wall, waiting: Unanswered) -> None:
    """Carry out all pending items of a lane, until it ends."""
    queue = _Queue(journal, lane.row.id, named=lane.client.logged)
    async with TaskGroup() as tasks:
        worker = _Worker(journal, lane, queue, tasks, wall, waiting)
        for _ in range(min(lane.concurrency, math.ceil(lane.planned / _A_WORKER)) - 1):
            worker.start_another()
        await worker.work()


class _Worker:
    """Carries out one item of a lane after another, until there is none or the lane ends."""

    def __init__(
        self,
        journal: Journal,
        lane: Lane,
        queue: _Queue,
        tasks: TaskGroup,
        wall: Wall,
        unanswered: Unanswered,
    ) -> None:
        self.journal, self.lane, self.wall, self.unanswered = journal, lane, wall, unanswered
        self._queue, self._tasks = queue, tasks
        self._replaced = False

    async def work(self) -> None:
        """Stops of itself when it was replaced."""
        lane = self.lane
        while not (self._replaced or lane.stop.asked):
            item = await self._queue.take()
            if item is None:
                return
            course = _Course(self, item)
            try:
                if lane.permit.paused:
                    await lane.permit.gone_on(lane.stop)
                if not lane.has_room(item):
                    self._queue.close()
                    return
                began = lane.time()
                outcome = await course.outcome()
                self.journal.post(self.journal.ended(item, outcome))
                lane.took(item, began)
                lane.permit.ended(lane.tenant.name, outcome)
                lane.done += 1
                if lane.done % _COUNT_EVERY == 0:
                    lane.count(self.journal)
            except Stopped:
                self._queue.close()
                return
            except TenantError as error:
                lane.give_up(error)
            finally:
                course.leave()
                self._queue.done(item)

    def hand_over(self) -> None:
        """A hook waits for long, but not its lane: another worker goes on."""
        if not self._replaced:
            self.start_another()
        self._replaced = True

    def start_another(self) -> None:
        """Work beside this one."""
        way = (self.journal, self.lane, self._queue, self._tasks, self.wall, self.unanswered)
        self._tasks.create_task(_Worker(*way).work())


class _Course:
    """One item's steps in their order, each from its before to its after; and where one fails, back
    over those ahead of it that have a way back."""

    def __init__(self, worker: _Worker, item: Item) -> None:
        self._worker, self._item = worker, item
        self._journal, self._lane = worker.journal, worker.lane
        #: Ids of hooks that steps made, by what they were to write to.
        self._made: dict[str, str] = {}
        self._wrote: list[Step] = []
        self._unlike: Step | None = None  #: which was done, and was read back otherwise
        self._switches = len(item.steps) > 1 and steps.switches(item.steps)
        self._in_switch = False  #: nothing else of the lane goes on

    async def outcome(self) -> Outcome:
        """Take every step that was not taken yet; to `leave` after it. Raises TenantError, Stopped:
        the item is left as it is, to be gone on with."""
        item, failed = self._item, -1
        begun = any(step.state != "pending" for step in item.steps)
        if not self._lane.trusts_plan:
            try:
                await self._lane.list_for(item)
            except NoActions as error:
                if not begun:  # else it has a way back, maybe
                    return _not_had(error)
        ended = None if begun else self._held_back()
        if not (begun or ended or self._lane.trusts_plan or len(item.steps) == 1):
            ended = await self._drifted()
        if ended is None:
            ended, failed = await self._forward()
        if ended.state in _OK:
            return ended
        targets = [*self._made.values(), *(step.target for step in item.steps)]
        self._lane.live.update(dict.fromkeys(targets))
        if not item.rank and ":" not in str(item.target):
            self._lane.not_cleared.update(item.keys[1:])
        if ended.state is State.UNCERTAIN:
            return ended
        ended = await self._back(ended, failed)
        if self._unlike is not None and ended.state is not State.UNCERTAIN:
            self._fail(self._unlike)  # to be taken again, if the item is
        return ended

    def leave(self) -> None:
        """Let the others of the lane go on, where this item has come between them."""
        if self._in_switch:
            self._lane.switch.leave()

    def _held_back(self) -> Outcome | None:
        """The end of an item that must not be begun: what had to go before it did not, or hooks
        turned out not to take all of its steps."""
        mine, told = self._item.steps, self._lane.ended
        if told and len(mine) > 1 and steps.frozen(mine):
            return Outcome(state=State.FAILED, cause=told.cause, hint=told.hint)
        if refused := self._lane.no_actions:
            for scope in refused.keys() & steps.scopes(mine):
                return _not_had(refused[scope])
        if self._item.rank and not self._lane.not_cleared.isdisjoint(self._item.keys):
            cause = "what had to go before it did not end well"
            return Outcome(state=State.FAILED, cause=cause, hint="apply --failed takes up both")
        return None

    async def _drifted(self) -> Outcome | None:
        """The end of an item of several steps of which one has drifted: none is to be begun."""
        lane, live = self._lane, self._lane.live
        # What a hook's later steps find is what its first ones left.
        first = {step.target: step for step in reversed(self._item.steps) if not step.back}
        for step in (step for target, step in first.items() if ":" not in target):
            seen = None if steps.reread(step) else live.get(step.target, ABSENT)
            if seen is None or steps.judge(step, seen, sent=False) is Seen.LACKING:
                try:
                    read = lane.client.sending_for(self._item).read
                    seen = await steps.look(step, step.target, read)
                except ItemError as error:
                    return Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)
            how = ""
            if steps.judge(step, seen, sent=False) is Seen.OTHER:
                how = steps.drift(step, seen)
            elif step.want.get("enabled") is True:
                how = hooks.rivalled(step.target, live, first)
            if how:
                return Outcome(state=State.SKIPPED, cause=f"drifted: {how}", hint=_REPLAN)
        return None

    async def _forward(self) -> tuple[Outcome, int]:
        """How the steps ended, and the number of the one that failed; -1: it was the read-back."""
        ended = UNCHANGED
        for step in (step for step in self._item.steps if not step.back):
            if not self._in_switch and (self._switches or self._lane.switch.held):
                await self._in_turn(step)
            outcome = await self._take(step)
            if outcome.state not in _OK:
                return outcome, step.n
            if outcome is APPLIED:
                ended = APPLIED
                self._wrote.append(step)
            if step.after and "id" in step.after:
                self._made[step.target] = str(step.after["id"])
        if len(self._item.steps) > 1:
            return await self._read_back() or ended, -1
        return ended, -1

    async def _in_turn(self, step: Step) -> None:
        """Wait while another item of the lane switches; where this one begins to, others wait."""
        switch = self._lane.switch
        if self._switches and not steps.harmless(step):
            await switch.enter(self._item.id)
            self._in_switch = True
        elif switch.held:
            await switch.over()

    async def _take(self, step: Step) -> Outcome:
        if step.state == "failed":  # of an earlier process, which was on its way back
            drifted = self._item.outcome.cause.startswith("drifted")
            state = State.SKIPPED if drifted else State.FAILED
            return msgspec.structs.replace(self._item.outcome, state=state)
        if step.state == "applied":
            return UNCHANGED if step.sent_at is None else APPLIED
        begun = [*self._wrote, *([step] if step.state != "pending" else [])]
        finish = any(not steps.harmless(each) for each in begun)
        client = self._lane.finishing() if finish else self._lane.client
        try:
            return await self._attempt(step, client).outcome()
        except TenantError as error:
            if not self._way_back(step.n):
                raise
            self._lane.give_up(error)
            self._fail(step)
            return Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)

    def _attempt(self, step: Step, client: ManagementClient) -> _Attempt:
        client = client.sending_for(self._item)
        anew = steps.anew(step, self._wrote)
        return _Attempt(self._worker, self._item, step, self._made, client, anew=anew)

    def _fail(self, step: Step) -> None:
        ended = self._journal.step_ended(self._item, step.n, applied=False, at=None, after={})
        self._journal.post(*ended)

    async def _read_back(self) -> Outcome | None:
        """What is wrong with an item of several hooks, all of whose steps are done: each hook is
        read, for writing to one may have changed another."""
        last = {step.target: step for step in self._item.steps if not step.back}
        if len(last) == 1:
            return None
        read = self._lane.finishing().sending_for(self._item).read
        for target, step in last.items():
            try:
                seen = await steps.look(step, self._made.get(target, target), read)
            except ItemError as error:
                return _in_doubt(error.cause)
            if not steps.shows(step, seen):
                # No sooner is it marked as failed: who goes on from a crash must find what was
                # done, to turn all of it back.
                self._unlike = step
                cause = f"read back: {steps.unlike(step, seen)}"
                return Outcome(state=State.FAILED, cause=cause, hint=_LOOK)
        return None

    def _way_back(self, failed: int) -> list[Step]:
        """The steps that turn back what was written before step number `failed`."""
        wrote = {(step.target, step.kind) for step in self._wrote}
        back = (step for step in self._item.steps if step.back and step.n > failed)
        return [step for step in back if (step.target, step.kind) in wrote]

    async def _back(self, ended: Outcome, failed: int) -> Outcome:
        """How an item ended that did not end well, after its way back, if it has one."""
        way = self._way_back(failed)
        if not way:
            return ended
        # A process that goes on from here must know why it goes back.
        pending = msgspec.structs.replace(ended, state=State.PENDING)
        await self._journal.commit(self._journal.ended(self._item, pending))
        client = self._lane.finishing()
        try:
            for step in way:
                back = await self._attempt(step, client).outcome()
                if back.state is State.UNCERTAIN:
                    return Outcome(state=back.state, cause=ended.cause, hint=back.hint)
                if back.state not in _OK:
                    cause = f"{ended.cause}; and what was on is not put back: {back.cause}"
                    state = back.state if ended.state is State.SKIPPED else State.FAILED
                    hint = "look at the hooks of its trigger; --fresh plans the job anew"
                    return Outcome(state=state, cause=cause, hint=hint)
        except TenantError:
            self._journal.post(self._journal.unsent(self._item, failed))  # next time it goes on
            raise
        cause = f"{ended.cause}; what was on before is on again"
        return Outcome(state=ended.state, cause=cause, hint=ended.hint)


class _Stale(Exception):
    """The turn of a write came long after what it writes was read."""


class _Attempt:
    """One step's way from pending to its end."""

    def __init__(
        self,
        worker: _Worker,
        item: Item,
        step: Step,
        made: dict[str, str],
        client: ManagementClient,
        *,
        anew: bool,
    ) -> None:
        self._journal, self._lane, self._wall = worker.journal, worker.lane, worker.wall
        self._hand_over = worker.hand_over
        self._item, self._step = item, step
        self._made, self._client, self._anew = made, client, anew
        self._hook = made.get(step.target, step.target)
        #: When a write went out of which it will never be known whether it was done; what was read
        #: since.
        self._earlier: float | None = None
        self._seen: Fields | None = None
        self._seen_at = 0.0  #: on the loop's clock
        #: What is kept of what was there right before the write, for its way back.
        self._kept = {} if step.after is None or step.state != "sent" else step.after
        self._ready_by = math.inf  #: until when on the loop's clock the write may have to wait
        self._sent_at = step.sent_at
        self._unanswered = worker.unanswered
        self._waiting: dict[Callable[[], None], None] = {}
        self._trial = False  #: its write is the one more of a tenant that is set aside
        self._given_up = False  #: the lane was, for this step's sake
        self._unshown = ""  #: why the answer to a write is not believed
        self._unbuilt = False  #: the write was refused, for what it deploys was not built
        #: Loop time from which a look that shows the step undone is believed; None: it was not
        #: sent, or is known to be undone.
        self._doubt_until: float | None = None
        if step.sent_at is not None:
            waited = max(0.0, self._wall() - step.sent_at)
            self._doubt_until = self._lane.time() + self._lane.settle - waited

    async def outcome(self) -> Outcome:
        """Send the step until it is seen to be done, or cannot be; at most 5 times and, from the
        first that broke, for 5 minutes."""
        try:
            return await self._tried()
        finally:
            if self._trial:  # not sooner: an answer may prove to be none when it is read back
                self._lane.breaker.unsent()

    async def _tried(self) -> Outcome:
        why, until = "", math.inf
        tries = 0
        while True:
            try:
                ended = await self._looked()
                if ended is not None:
                    return ended
                if self._given_up or tries == TRIES or (tries and self._lane.time() >= until):
                    return self._failed(ItemError(why, _BREAKS))
                return await self._send()
            except _Stale:
                why, tries = "what it writes was always read too long before its turn", tries + 1
            except Unsure as error:
                if self._unbuilt:
                    continue
                if self._doubt_until is None:  # it was a look that broke, and nothing was sent
                    return Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)
                why, until = error.cause, min(until, self._lane.time() + HELD_UP)
                tries += 1
            except ItemError as error:
                return self._failed(error)

    async def _looked(self) -> Outcome | None:
        """The end of the step if looking at the hook shows one; None: it is to be sent."""
        lane, sent = self._lane, self._doubt_until is not None
        trusted = lane.trusts_plan and self._hook not in lane.live
        if not sent and trusted and not steps.reread(self._step):
            return None
        try:
            verdict, seen = await self._look()
            while verdict is Seen.BEFORE and await self._waited(seen):
                verdict, seen = await self._look()
        except (ItemError, TenantError) as error:
            return self._unseen(error)
        if verdict is Seen.WANTED:
            self._applied(seen)
            return APPLIED if sent else UNCHANGED
        if verdict is Seen.BEFORE and (rivalled := await self._rivalled()):
            return self._skipped(f"drifted: {rivalled}", {})
        if verdict is Seen.BEFORE:
            if sent:
                self._undone(seen)
            # What a write may have left is not what was there before it.
            self._seen, self._kept = seen, (sent and self._kept) or steps.kept(self._step, seen)
            return None
        if verdict is Seen.LACKING:
            cause = "the tenant's answer does not show the hook's fields"
            if sent:
                return _in_doubt(cause)
            return Outcome(state=State.FAILED, cause=cause, hint="look at the tenant's base_url")
        return self._skipped(f"drifted: {steps.drift(self._step, seen)}", seen)

    async def _waited(self, seen: Fields) -> bool:
        """Whether the write had to wait for something; a while of that is over. Raises ItemError
        when it does not come."""
        why = steps.unready(self._step, seen) or ("to be built" if self._unbuilt else "")
        self._unbuilt = False
        if why:
            await self._wait(f"for {{n}} {why}")
        return bool(why)

    async def _wait(self, why: str) -> None:
        """Wait a moment for what the service does by itself. Raises ItemError after 5 minutes."""
        self._ready_by = min(self._ready_by, self._lane.time() + actions.BUILT_IN)
        if self._lane.time() >= self._ready_by:
            cause = f"waited {actions.BUILT_IN:.0f} s {why.format(n=1)}"
            raise ItemError(cause, "look at the action in the dashboard, then apply --failed")
        self._hand_over()
        self._lane.waits[self._hook] = why, self._ready_by
        try:
            await self._client.sleep(actions.LOOK_EVERY)
        finally:
            del self._lane.waits[self._hook]
        if self._lane.switch.held:
            await self._lane.switch.over()

    def _let_others(self) -> None:
        """This waits for long, and others need not."""
        self._hand_over()
        self._lane.switch.rest(self._item.id)

    def _undone(self, seen: Fields) -> None:
        """A step that was sent is seen to be undone, or may be sent again as if it were."""
        if steps.blind(self._step):
            self._earlier = self._sent_at
        else:
            self._unmark()
        if self._unshown:  # it was answered as if it had been done
            self._broke(self._unshown)

    def _skipped(self, cause: str, seen: Fields) -> Outcome:
        self._step_ended(seen, applied=False)
        return Outcome(state=State.SKIPPED, cause=cause, hint=_REPLAN)

    async def _rivalled(self) -> str:
        """What must not be enabled when this step enables its hook, and is; "" if nothing."""
        if self._step.want.get("enabled") is not True:
            return ""
        live = self._lane.live
        if self._step.back:  # something else may be on now; a service may switch that off silently
            live = dict(await hooks.list_all(self._client.read))
        return hooks.rivalled(self._hook, live)

    def _unseen(self, error: ItemError | TenantError) -> Outcome:
        """What it means that a look failed: a step that was sent stays in doubt."""
        if isinstance(error, TenantError):
            self._lane.give_up(error)
        elif isinstance(error, Unsure):  # five reads broke: this hook's trouble, or its tenant's
            self._broke(error.cause)
        if self._doubt_until is None or isinstance(error, Gone):
            raise error
        return _in_doubt(error.cause)

    async def _look(self) -> tuple[Seen, Fields]:
        lane, believed_from = self._lane, self._doubt_until or 0.0
        sent = self._doubt_until is not None
        seen = steps.known(self._step, self._hook, lane.live)
        if seen is not None:
            verdict = self._judged(seen, sent=sent)
            listed_at = lane.listed_at.get(steps.kind_of(self._step.target), 0.0)
            if verdict is not Seen.LACKING and (
                verdict is Seen.WANTED or listed_at >= believed_from
            ):
                return verdict, seen
        begun = self._seen_at = lane.time()
        seen = await steps.look(self._step, self._hook, self._client.read)
        verdict = self._judged(seen, sent=sent)
        if verdict is not Seen.WANTED and begun < believed_from:
            self._let_others()
            lane.waits[self._hook] = "to read {n} back", believed_from
            try:
                await self._client.sleep(max(0.0, believed_from - lane.time()))
            finally:
                del lane.waits[self._hook]
            self._seen_at = lane.time()
            seen = await steps.look(self._step, self._hook, self._client.read)
            verdict = self._judged(seen, sent=sent)
        return verdict, seen

    def _judged(self, seen: Fields, *, sent: bool) -> Seen:
        verdict = steps.judge(self._step, seen, sent=sent)
        return Seen.BEFORE if verdict is Seen.WANTED and self._anew and not sent else verdict

    async def _send(self) -> Outcome:
        """Send the step's write; its mark is durable before it goes out."""
        lane, self._unshown = self._lane, ""
        call = steps.request(self._step, self._hook, self._seen)
        if call.frozen and lane.ended:
            raise Ended(lane.ended.cause, lane.ended.hint)
        if call.secret:
            call = await self._client.with_values(call, lane.value_of)
        answer = await self._sent(call)
        seen = steps.seen_in(self._step, self._hook, answer)
        if self._step.kind in steps.SILENT:
            seen = await self._read_after()
        if not steps.shows(self._step, seen):
            lane.live[self._hook] = None
            self._unshown = "the answer does not show the change"
            raise Unsure(self._unshown, "look at the hook")
        self._applied(seen)
        return APPLIED

    async def _sent(self, call: Call) -> Any:
        """What the server answers to a write; None where it need not show anything."""
        lane = self._lane
        if lane.breaker.open and not self._trial:
            self._trial = await lane.breaker.closed(self._client.stop)
        try:
            answer = await self._client.write(call, self._mark)
        except (Stopped, TenantError, _Stale):  # the server has refused it, or has not seen it
            self._unmark()
            raise
        except Unsure as error:
            lane.live[self._hook] = None
            self._broke(error.cause)
            raise
        except ItemError as error:
            lane.breaker.held()
            if isinstance(error, Ended):
                lane.ended = error
            if isinstance(error, NoActions):
                lane.no_actions[call.scope] = error
            if isinstance(error, Gone) and self._step.want == ABSENT:
                return None
            if self._step.kind == "deploy" and actions.too_early(error):
                self._unmark()
                self._unbuilt = True
                raise Unsure(error.cause, error.hint) from error
            raise
        finally:
            self._waiting.pop(self._let_others, None)
        return answer

    def _broke(self, why: str) -> None:
        lane = self._lane
        if lane.breaker.broke(why, trial=self._trial):
            lane.give_up(TenantError(why, _BREAKS))
            # To read back what came of it.
            self._given_up, self._client = True, lane.finishing().sending_for(self._item)

    async def _read_after(self) -> Fields:
        """What a write has left that says nothing of it. It was answered: a stop can wait."""
        read = self._lane.finishing().read
        try:
            seen = await steps.look(self._step, self._hook, read)
            while self._step.kind == "deploy" and not steps.shows(self._step, seen):
                steps.unready(self._step, seen)
                await self._wait("for {n} to be deployed")
                seen = await steps.look(self._step, self._hook, read)
        except Gone:
            raise
        except ItemError as error:
            raise Unsure(error.cause, error.hint) from error
        return seen

    async def _mark(self) -> None:
        lane = self._lane
        if self._client.stop is lane.stop:  # what is half done ends or goes back
            lane.permit.send()
        if steps.reread(self._step) and lane.time() - self._seen_at > _STALE:
            raise _Stale
        self._sent_at = self._wall()
        sent = self._journal.sent(self._item, self._step.n, self._sent_at, self._kept)
        await self._journal.commit(sent)
        self._doubt_until = lane.time() + lane.settle
        self._waiting.pop(self._let_others, None)
        self._waiting = self._unanswered.now()
        self._waiting[self._let_others] = None

    def _unmark(self) -> None:
        """Take the last mark back; an earlier one of which nobody knows stays."""
        if self._earlier is not None:
            sent = self._journal.sent(self._item, self._step.n, self._earlier, self._kept)
            self._journal.post(sent)
        elif self._sent_at is not None:
            self._journal.post(self._journal.unsent(self._item, self._step.n))
        self._sent_at = self._earlier
        # What went out earlier may have been done, and is long to be seen.
        self._doubt_until = None if self._earlier is None else 0.0

    def _applied(self, seen: Fields) -> None:
        self._step_ended(seen, applied=True)
        live, hook = self._lane.live, self._hook
        if "order" in seen:
            seen = {key: value for key, value in seen.items() if key != "order"}
        if self._sent_at is not None:
            self._lane.breaker.held()
        if seen == ABSENT:
            live[hook] = seen
        elif seen.get("id", hook) != hook:  # it was made
            hook = self._made[self._step.target] = str(seen["id"])
            live[hook] = seen
        elif hook in live:
            live[hook] = (live[hook] or {}) | seen

    def _failed(self, error: ItemError) -> Outcome:
        if self._earlier is not None:
            return _in_doubt(error.cause)
        self._step_ended({}, applied=False)
        return Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)

    def _step_ended(self, seen: Fields, *, applied: bool) -> None:
        after = steps.recorded(self._step, seen) | self._kept
        writes = self._journal.step_ended(
            self._item, self._step.n, applied=applied, at=self._sent_at, after=after
        )
        self._journal.post(*writes)


def _not_had(error: NoActions) -> Outcome:
    return Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)


def _in_doubt(cause: str) -> Outcome:
    hint = "apply reads it back and goes on"
    return Outcome(state=State.UNCERTAIN, cause=f"in doubt: {cause}", hint=hint)


class _Queue:
    """A lane's pending items in the order of work, a page at a time.

    Items that share a key are handed out one after another, in their order; `named`, with the
    names of their edits.
    """

    def __init__(self, journal: Journal, tenant: int, *, named: bool) -> None:
        self._journal, self._tenant, self._named = journal, tenant, named
        self._after = (-1, 0)
        self._waiting: deque[Item] = deque()
        self._busy: set[str] = set()
        self._all_read = self._closed = False
        self._freed: Event | None = None  #: is there while somebody waits

    async def take(self) -> Item | None:
        """The next item that may be worked on; None when there is no other."""
        while not self._closed:
            item = self._next()
            if item is not None:
                self._busy.update(item.keys)
                return item
            if not self._waiting:
                return None
            self._freed = self._freed or Event()
            await self._freed.wait()
        return None

    def close(self) -> None:
        """Hand out nothing more: what comes behind an item that is left pending must not go ahead
        of it."""
        self._closed = True

    def done(self, item: Item) -> None:
        """Free the keys of an item."""
        self._busy.difference_update(item.keys)
        if self._freed:
            self._freed.set()
            self._freed = None

    def _next(self) -> Item | None:
        if self._waiting and self._busy.isdisjoint(self._waiting[0].keys):
            return self._waiting.popleft()
        blocked = set(self._busy)
        for place, item in enumerate(self._waiting):
            if blocked.isdisjoint(item.keys):
                del self._waiting[place]
                return item
            blocked.update(item.keys)
        while not self._all_read and len(self._waiting) < _BLOCKED:
            page = self._journal.pending(self._tenant, self._after, _PAGE)
            self._all_read = len(page) < _PAGE
            if page:
                self._after = (page[-1].rank, page[-1].id)
                self._waiting.extend(self._with_names(page) if self._named else page)
                return self._next()
        return None

    def _with_names(self, page: list[Item]) -> list[Item]:
        names = self._journal.edit_names({item.edit for item in page})
        return [msgspec.structs.replace(item, edit_name=names[item.edit][0]) for item in page]
