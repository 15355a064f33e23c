"""Hosts get their share of requests, rest when told to, and hold nobody else up."""

import asyncio

import pytest

from setup.downloading.host_queue import HostQueue


def run(steps):
    return asyncio.run(asyncio.wait_for(steps, 10))


async def now(queue):
    """A job that may be asked at once, or None."""
    try:
        return await asyncio.wait_for(queue.take(), 0.02)
    except TimeoutError:
        return None


def test_a_host_gets_so_many_and_others_go_on():
    async def steps():
        queue = HostQueue(per_host=2)
        for i in range(4):
            queue.put("big", f"big{i}")
        queue.put("small", "small0")
        taken = [await now(queue) for _ in range(4)]
        queue.release("big")
        return taken, await now(queue), await now(queue)

    taken, after_release, then = run(steps())
    assert taken == ["big0", "big1", "small0", None]
    assert (after_release, then) == ("big2", None)


def test_a_resting_host_is_left_in_peace_for_its_time():
    async def steps():
        queue, loop = HostQueue(per_host=3), asyncio.get_running_loop()
        for i in range(3):
            queue.put("tired", f"t{i}")
        assert await now(queue) == "t0"
        queue.rest("tired", 0.3)
        start = loop.time()
        queue.put("tired", "t0", is_first=True)
        queue.release("tired")
        queue.put("fresh", "f0")
        assert [await now(queue), await now(queue)] == ["f0", None]
        order = [await queue.take() for _ in range(3)]
        return order, loop.time() - start

    order, waited_s = run(steps())
    assert order == ["t0", "t1", "t2"]
    assert waited_s >= 0.3


def test_a_second_rest_only_lengthens_the_first():
    async def steps():
        queue, loop = HostQueue(per_host=1), asyncio.get_running_loop()
        queue.put("host", "a")
        assert await now(queue) == "a"
        start = loop.time()
        queue.rest("host", 0.3)
        queue.rest("host", 0.05)
        queue.put("host", "b")
        queue.release("host")
        await queue.take()
        return loop.time() - start

    assert run(steps()) >= 0.3


def test_a_host_that_is_left_takes_no_more():
    async def steps():
        queue = HostQueue(per_host=1)
        for job in "abc":
            assert queue.put("host", job)
        assert await now(queue) == "a"
        left = queue.leave("host")
        queue.release("host")
        return left, queue.put("host", "d"), await now(queue)

    assert run(steps()) == (["b", "c"], False, None)


def test_takers_go_home():
    async def steps():
        queue = HostQueue(per_host=1)
        takers = [asyncio.create_task(queue.take()) for _ in range(3)]
        queue.put("host", "a")
        await asyncio.sleep(0)
        queue.close(2)
        return await asyncio.gather(*takers)

    assert sorted(run(steps()), key=str) == [None, None, "a"]


@pytest.mark.parametrize("per_host", [1, 3])
def test_all_jobs_are_done_once_and_idle_hosts_are_forgotten(per_host):
    async def steps():
        queue, done, busy, most = HostQueue(per_host), [], {}, {}

        async def work():
            while (job := await queue.take()) is not None:
                host = job[0]
                busy[host] = busy.get(host, 0) + 1
                most[host] = max(most.get(host, 0), busy[host])
                await asyncio.sleep(0.001)
                busy[host] -= 1
                done.append(job)
                queue.release(host)

        workers = [asyncio.create_task(work()) for _ in range(20)]
        jobs = [(f"host{i % 5}", i) for i in range(100)]
        for host, i in jobs:
            queue.put(host, (host, i))
        while len(done) < len(jobs):
            await asyncio.sleep(0.005)
        queue.close(20)
        await asyncio.gather(*workers)
        assert sorted(done, key=lambda job: job[1]) == jobs
        assert set(most.values()) == {per_host}
        return len(queue), len(queue._hosts)

    assert run(steps()) == (0, 0)
