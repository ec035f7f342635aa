"""Measuring what routing costs in quality: paid once, resumable, and every figure follows from the rows."""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.errors import ConfigurationError, ExitCode, InputMissing, InputUnfit, StorageFailed
from batchrouter.core.evaluation import EvaluationReport, Measured
from batchrouter.core.options import EvaluationOptions
from batchrouter.core.settings import Settings
from tests.acceptance.conftest import Job, answers, completion, is_judging, problem
from tests.acceptance.test_processes import config, ran, started, until


async def evaluated(job: Job, **options: Any) -> EvaluationReport:
    report, end = await api.evaluate(
        db=job.db, settings=Settings.model_validate(job.settings), options=EvaluationOptions(**options)
    )
    assert end.exit_code is ExitCode.OK, end
    job.check()
    return report


def share(k: int, n: int, p: float) -> float:
    """P(at most k of n), added up the plain way."""
    total, term = 0.0, (1 - p) ** n
    for i in range(k + 1):
        total += term
        term *= (n - i) / (i + 1) * p / (1 - p)
    return total


def recomputed(job: Job, report: EvaluationReport) -> None:
    """Every figure of the report from the rows alone, by other means."""
    rows = job.rows(
        f"SELECT tier, coalesce(gold, verdict), line FROM judgements WHERE evaluation = {report.evaluation}"
    )
    for one in (*report.tiers, report.total):
        counts = Counter(verdict for tier, verdict, _ in rows if one.tier in (tier, "all") and verdict)
        n = sum(counts.values())
        assert (one.n, one.match, one.worse, one.better, one.unjudged) == (
            n,
            *(counts[name] for name in ("match", "worse", "better", "unjudged")),
        )
        good = counts["match"] + counts["better"]
        assert (one.correct, one.downgraded, one.as_dict()["total"]) == (good, counts["worse"], n)
        figures_of(one, good, n)
    assert sum(one.n for one in report.tiers) == report.total.n
    own = set(job.rows(f"SELECT run, line, attempt FROM evaluation_calls WHERE evaluation = {report.evaluation}"))
    calls = job.rows(
        "SELECT run, line, attempt, cost_nano FROM attempts WHERE purpose = 'judge' AND state <> 'unknown'"
    )
    cost = sum(nano for *key, nano in calls if tuple(key) in own)
    assert round((report.cost or 0) * 10**9) == cost
    (run_cost,) = job.rows("SELECT sum(cost_nano) FROM attempts WHERE state <> 'unknown' AND purpose <> 'judge'")[0]
    assert report.share_pct == round(100 * cost / run_cost, 2)
    (drawable,) = job.rows("SELECT count(*) FROM records WHERE state = 'done' AND tier <> 'complex'")[0]
    assert (report.population, report.drawn, report.pending) == (
        drawable,
        len(rows),
        sum(verdict is None for _, verdict, _ in rows),
    )
    assert report.meets_threshold is (report.total.rate is not None and report.total.rate >= report.threshold)


def figures_of(one: Measured, good: int, n: int) -> None:
    assert one.rate == good / n
    assert one.mismatch_most is not None
    if good:
        assert share(n - good, n, one.mismatch_most) == pytest.approx(0.05, abs=1e-6)
    assert one.wilson is not None
    for end in one.wilson:
        assert (good / n - end) ** 2 == pytest.approx(3.841458820694124 * end * (1 - end) / n, abs=1e-9)


async def test_every_figure_follows_from_the_rows(done: Job) -> None:
    report = await evaluated(done, sample=60)
    assert (report.total.match, report.total.worse, report.total.better, report.total.unjudged) == (42, 6, 6, 6)
    recomputed(done, report)
    assert report.verdict == (
        f"48 of 60 match: this is compatible with up to {100 * (report.total.mismatch_most or 0):.3g} % mismatch;"
        " 149 records without a harm would show 2 %"
    )
    how = Counter(how for (how,) in done.rows("SELECT how FROM judgements"))
    assert how == {"exact": 30, "normalised": 6, "judge": 24}


async def test_the_ledger_counts_it_apart_and_the_run_stays_as_it_was(done: Job) -> None:
    before = done.rows("SELECT state, exit_code, finished_at, done, answer_cost, saved, wasted FROM run_summary")
    paid = done.gateway.paid_nano
    report = await evaluated(done, sample=25)
    assert (
        done.rows("SELECT state, exit_code, finished_at, done, answer_cost, saved, wasted FROM run_summary") == before
    )
    (judge_cost,) = done.rows("SELECT judge_cost FROM run_summary")[0]
    assert round(judge_cost * 10**9) == round((report.cost or 0) * 10**9) == done.gateway.paid_nano - paid


async def test_asked_again_it_makes_no_call_and_another_seed_is_another_sample(done: Job) -> None:
    first = await evaluated(done, sample=20)
    calls = len(done.gateway.requests)
    assert await evaluated(done, sample=20) == first
    assert len(done.gateway.requests) == calls
    other = await evaluated(done, sample=20, seed=1)
    assert await evaluated(done, sample=20) == first, "other evaluations change nothing of it"
    assert other.evaluation != first.evaluation
    recomputed(done, other)
    lines = [done.rows(f"SELECT line FROM judgements WHERE evaluation = {n}") for n in (1, 2)]
    assert lines[0] != lines[1]


async def test_without_a_judge_what_is_not_equal_is_worse(done: Job) -> None:
    report = await evaluated(done, sample=60, judge="exact")
    assert (report.total.match, report.total.worse) == (36, 24)
    assert not any(is_judging(body) for body in done.gateway.requests)
    recomputed(done, report)


async def test_against_the_top_asks_the_top_and_strata_are_drawn_of_each(done: Job) -> None:
    report = await evaluated(done, sample=9, against="top", stratify=("task",), judge="middle")
    asked = [body["model"] for body in done.gateway.requests[60:] if not is_judging(body)]
    assert asked == ["large"] * 9
    tasks = Counter(task for (task,) in done.rows("SELECT task FROM judgements JOIN records USING (run, line)"))
    assert tasks == {"t0": 3, "t1": 3, "t2": 3}
    recomputed(done, report)


async def test_checks_decide_first(job: Job) -> None:
    job.gateway.reply = lambda body, _n: completion("yes" if body["model"] == "small" else "perhaps")
    job.write([{"prompt": "hi", "expect": {"one_of": ["yes", "no"]}}])
    await job.run()
    report = await evaluated(job)
    assert report.total.better == 1
    assert job.rows("SELECT how FROM judgements") == [("expect",)]


async def test_gold_takes_the_place_of_the_judge_and_measures_it(done: Job, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        '{"id": "r1", "verdict": "worse"}\n{"line": 1, "verdict": "worse"}\n\n{"id": "r4", "answer": "Fine 4"}\n'
        '{"id": "r5", "answer": "neither"}\n{"id": "unknown", "verdict": "match"}\n'
    )
    report = await evaluated(done, sample=60, gold=gold)
    assert dict(done.rows("SELECT line, gold FROM judgements WHERE gold IS NOT NULL")) == {
        1: "worse",
        2: "worse",
        5: "better",
    }
    assert report.gold is not None
    assert (report.gold.records, report.gold.judged, report.gold.agreed) == (3, 3, 2)
    assert (report.gold.worse, report.gold.missed) == (2, 1)
    assert report.total.worse == 7
    recomputed(done, report)


@pytest.mark.parametrize("text", ["{", "[]", '{"id": "r1"}', '{"id": "r1", "verdict": "good"}', '{"verdict": "worse"}'])
async def test_a_wrong_line_of_gold_is_named(done: Job, tmp_path: Path, text: str) -> None:
    (tmp_path / "gold.jsonl").write_text(f'{{"id": "r1", "verdict": "worse"}}\n{text}\n')
    calls = len(done.gateway.requests)
    with pytest.raises(InputUnfit, match="line 2"):
        await evaluated(done, sample=5, gold=tmp_path / "gold.jsonl")
    with pytest.raises(InputMissing):
        await evaluated(done, sample=5, gold=tmp_path / "none.jsonl")
    with pytest.raises(StorageFailed):
        await evaluated(done, sample=5, pairs=tmp_path / "nowhere" / "pairs.md")
    assert len(done.gateway.requests) == calls, "a mistake that shows at once is told before anything is paid for"


async def test_pairs_are_written_for_a_person(done: Job, tmp_path: Path) -> None:
    await evaluated(done, sample=60, pairs=tmp_path / "pairs.md")
    text = (tmp_path / "pairs.md").read_text()
    assert "## line 1 (r0): worse by judge" in text
    assert "bad 0" in text
    await evaluated(done, sample=60, pairs=tmp_path / "pairs.jsonl")
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 60
    assert (pairs[0]["answer"], pairs[0]["other_answer"], pairs[0]["verdict"]) == ("bad 0", "good 0", "worse")


async def test_it_keeps_to_the_budget_of_the_run_and_goes_on_when_there_is_more(done: Job) -> None:
    done.settings["run"] = {"budget": "0.2"}
    options = EvaluationOptions(sample=30)
    report, end = await api.evaluate(db=done.db, settings=Settings.model_validate(done.settings), options=options)
    assert end.exit_code is ExitCode.BUDGET
    assert 0 < report.pending < 30
    assert report.meets_threshold is None
    assert report.verdict.startswith(f"{report.pending} of 30 are not judged yet")
    done.check()
    (spent,) = done.rows("SELECT sum(cost_nano) FROM attempts")[0]
    assert spent <= 0.2 * 10**9
    calls = len(done.gateway.requests)
    done.settings["run"] = {"budget": "9"}
    report = await evaluated(done, sample=30)
    assert report.pending == 0
    recomputed(done, report)
    asked = Counter(json.dumps(body) for body in done.gateway.requests[60:])
    assert max(asked.values()) == 1
    assert len(done.gateway.requests) > calls


async def test_a_judge_that_cannot_be_asked_stops_it_and_nothing_is_lost(done: Job) -> None:
    done.gateway.reply = lambda body, n: problem(400, "no judge") if is_judging(body) else answers(body, n)
    options = EvaluationOptions(sample=60)
    report, end = await api.evaluate(db=done.db, settings=Settings.model_validate(done.settings), options=options)
    assert end.exit_code is ExitCode.CONFIGURATION
    assert "the judge 'large'" in end.reason
    assert report.pending
    done.check()
    done.gateway.reply = answers
    assert (await evaluated(done, sample=60)).total.n == 60


async def test_a_judge_needs_a_price(done: Job) -> None:
    with pytest.raises(ConfigurationError, match="--judge nobody"):
        await evaluated(done, judge="nobody")


async def test_a_run_with_nothing_below_the_top_has_nothing_to_compare(job: Job) -> None:
    job.write([{"prompt": "hi", "tier": "complex"}])
    await job.run()
    with pytest.raises(InputUnfit, match="1 record done on the top tier"):
        await evaluated(job)


async def test_nothing_is_asked_twice_after_a_kill_but_what_was_in_flight(done: Job) -> None:
    """``kill -9`` while some are judged and others in flight; the same command pays for no answer or verdict again."""
    enough, go_on = asyncio.Event(), asyncio.Event()
    seen = 0

    async def held(body: dict[str, Any]) -> Any:
        await go_on.wait()
        return answers(body, 0)

    def reply(body: dict[str, Any], n: int) -> Any:
        nonlocal seen
        seen += 1
        if seen > 25:
            enough.set()
            return held(body)
        return answers(body, n)

    done.gateway.reply = reply
    command = ["evaluate", "--sample", "40", "--db", "runs.db", "--config", str(config(done))]
    process = await started(done, *command)
    await until(enough, process)
    while not done.rows("SELECT 1 FROM judgements WHERE verdict IS NOT NULL"):
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    go_on.set()
    done.gateway.reply = answers
    before = [json.dumps(body) for body in done.gateway.requests[60:]]
    committed = done.rows("SELECT count(*) FROM attempts WHERE purpose = 'judge' AND state = 'ok'")[0][0]
    code, out, err = await ran(done, *command, "--json")
    assert code == 0, err
    after = [json.dumps(body) for body in done.gateway.requests[60 + len(before) :]]
    asked_twice = Counter(before) & Counter(after)
    unknown = done.rows("SELECT count(*) FROM attempts WHERE purpose = 'judge' AND state = 'unknown'")[0][0]
    assert sum(asked_twice.values()) <= unknown
    assert len(before) - committed <= unknown
    assert max(Counter(before).values()) == max(Counter(after).values()) == 1
    assert json.loads(out)["total"]["total"] == 40
    done.check()
    recomputed(done, await evaluated(done, sample=40))


async def test_the_command_prints_it(done: Job) -> None:
    code, out, err = await ran(done, "evaluate", "--sample", "60", "--db", "runs.db", "--config", str(config(done)))
    assert (code, err) == (0, "")
    assert "60 of 60 records against the next tier up, seed 0" in out
    assert "correct 48 / downgraded 6 / total 60" in out
    assert "80.0 % are as good: below the threshold of 95.0 %" in out
