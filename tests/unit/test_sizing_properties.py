"""What must hold of sizing for any model, GPU and request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from workloads.sizing import (
    CATALOGUE,
    GPUS,
    QUANTIZATIONS,
    Architecture,
    EngineRequest,
    Experts,
    Gpu,
    Latent,
    Misfit,
    Sizing,
    SizingRequest,
    Traffic,
    host_needs,
    loading,
    size,
    size_engine,
    throughput,
)
from workloads.sizing.memory import cache_of, weights_gib

pytestmark = pytest.mark.unit

CASES = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

DEGREES = (1, 2, 4, 8)


@st.composite
def invented(draw: st.DrawFn) -> Architecture:
    """A model that nobody has published: any mixture of features."""
    kv_heads = draw(st.sampled_from([1, 2, 4, 8, 10, 16]))
    heads = kv_heads * draw(st.sampled_from([1, 2, 4, 7, 8]))
    layers = draw(st.integers(1, 96))
    width = draw(st.sampled_from([512, 1408, 4096, 13824, 29568]))
    windowed = draw(st.integers(0, layers))
    experts = draw(
        st.none() | st.builds(Experts, count=st.just(16), per_token=st.integers(1, 16), intermediate=st.just(width))
    )
    latent = draw(st.none() | st.just(Latent(kv_rank=512, rope_dim=64, nope_dim=128, value_dim=128, q_rank=1536)))
    return Architecture(
        name="invented",
        source="none",
        family="llama",
        layers=layers,
        hidden=draw(st.sampled_from([576, 2048, 4096, 8192])),
        intermediate=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([64, 128, 256])),
        vocab=draw(st.integers(1000, 262_144)),
        max_position=draw(st.sampled_from([512, 8192, 131_072])),
        tied=draw(st.booleans()),
        window=1024 if windowed else 0,
        window_layers=windowed,
        experts=experts,
        latent=latent,
    )


models = st.sampled_from(list(CATALOGUE.values())) | invented()
gpus = st.sampled_from(list(GPUS.values()))
versions = st.sampled_from([(0, 8), (0, 16), (0, 17), (0, 19), (0, 21), (0, 24), (0, 28), (0, 29)])


@st.composite
def requests(draw: st.DrawFn) -> SizingRequest:
    model = draw(models)
    return SizingRequest(
        architecture=model,
        gpu=draw(gpus),
        quantization=QUANTIZATIONS[draw(st.sampled_from(["none", "fp8", "int8", "awq", "gptq", "bitsandbytes"]))],
        context=draw(st.integers(1, model.max_position)),
        concurrency=draw(st.integers(1, 300)),
        gpus=draw(st.sampled_from(DEGREES)),
        kv_dtype=draw(st.sampled_from(["auto", "fp8"])),
        version=draw(versions),
    )


@CASES
@given(requests(), st.data())
def test_more_context_never_needs_less_memory(request_: SizingRequest, data: st.DataObject):
    sizing = size(request_)
    assume(isinstance(sizing, Sizing))
    shorter = size(
        replace(request_, context=data.draw(st.integers(1, request_.context)), tensor_parallel=sizing.tensor_parallel)
    )
    assert isinstance(shorter, Sizing), "a shorter context must fit where a longer one does"
    if shorter.max_num_batched_tokens == sizing.max_num_batched_tokens:
        assert shorter.needed_gib <= sizing.needed_gib


@CASES
@given(requests(), st.data())
def test_fewer_sequences_fit_where_more_do(request_: SizingRequest, data: st.DataObject):
    assume(isinstance(size(request_), Sizing))
    fewer = data.draw(st.integers(1, request_.concurrency))
    assert isinstance(size(replace(request_, concurrency=fewer)), Sizing)


@CASES
@given(requests(), st.floats(0, 200))
def test_a_fit_stays_a_fit_on_a_gpu_with_more_memory(request_: SizingRequest, more: float):
    assume(isinstance(size(request_), Sizing))
    larger: Gpu = replace(request_.gpu, memory_gib=request_.gpu.memory_gib + more)
    assert isinstance(size(replace(request_, gpu=larger)), Sizing)


@CASES
@given(requests())
def test_more_gpus_never_hold_fewer_tokens(request_: SizingRequest):
    held = [0]
    for gpus_ in DEGREES:
        sizing = size(replace(request_, gpus=gpus_))
        held.append(sizing.kv_tokens if isinstance(sizing, Sizing) else held[-1])
        assert isinstance(sizing, Sizing) or held[-1] == 0, "what fits on fewer fits on more"
    assert held == sorted(held)


@CASES
@given(models, st.sampled_from(DEGREES), st.sampled_from(["fp8", "int8", "awq", "gptq", "bitsandbytes", "mxfp4"]))
def test_quantizing_never_needs_more_memory_for_weights(model: Architecture, degree: int, name: str):
    assume(not model.undivided(degree))
    kind = QUANTIZATIONS[name]
    assert weights_gib(model, kind, degree) <= weights_gib(model, QUANTIZATIONS["none"], degree) * (1 + 1e-9)


@CASES
@given(requests())
def test_what_fits_in_sixteen_bit_fits_quantized_wherever_that_runs(request_: SizingRequest):
    plain = replace(request_, quantization=QUANTIZATIONS["none"])
    assume(isinstance(size(plain), Sizing))
    quantized = size(replace(plain, quantization=QUANTIZATIONS["fp8"]))
    assert isinstance(quantized, Sizing) or plain.gpu.capability < QUANTIZATIONS["fp8"].capability


@CASES
@given(requests())
def test_an_eight_bit_cache_holds_twice_the_tokens(request_: SizingRequest):
    full = size(replace(request_, kv_dtype="auto"))
    half = size(replace(request_, kv_dtype="fp8"))
    assume(isinstance(full, Sizing) and isinstance(half, Sizing) and full.tensor_parallel == half.tensor_parallel)
    assert isinstance(full, Sizing)
    assert isinstance(half, Sizing)
    assume(full.max_num_batched_tokens == half.max_num_batched_tokens)
    assert half.kv_tokens >= 2 * full.kv_tokens


@CASES
@given(requests())
def test_a_sizing_keeps_its_promises(request_: SizingRequest):
    sizing = size(request_)
    assume(isinstance(sizing, Sizing))
    assert isinstance(sizing, Sizing)
    memory = sizing.memory
    used = memory.fixed + max(memory.kv, 0) if sizing.cache else memory.fixed
    outside = 0 if memory.graphs_inside else memory.graphs
    assert used <= memory.budget + 1e-6
    assert memory.budget + outside < memory.physical, "what lies outside the budget has room beside it"
    assert sizing.tensor_parallel <= request_.gpus
    assert not request_.architecture.undivided(sizing.tensor_parallel)
    assert sizing.needed_gib <= memory.budget
    assert sizing.sequences(request_.context) >= min(request_.concurrency, sizing.max_num_seqs)
    assert request_.context <= sizing.max_context <= request_.architecture.max_position
    assert sizing.promised_tokens <= sizing.kv_tokens
    assert sizing.max_num_seqs <= sizing.max_num_batched_tokens


@CASES
@given(requests())
def test_every_remedy_makes_it_fit(request_: SizingRequest):
    found = size(request_)
    assume(isinstance(found, Misfit))
    assert isinstance(found, Misfit)
    assert found.reason
    for remedy in found.remedies:
        again = size(remedy.sizing.request)
        assert isinstance(again, Sizing), remedy.text
        assert remedy.text in str(found)
        assert again.memory.kv > 0 or again.cache is None


@CASES
@given(requests(), st.integers(1, 400), st.integers(1, 4000), st.integers(1, 4000))
def test_more_sequences_never_write_fewer_tokens_together_nor_each_one_faster(
    request_: SizingRequest, concurrency: int, prompt: int, answer: int
):
    sizing = size(request_)
    assume(isinstance(sizing, Sizing))
    assert isinstance(sizing, Sizing)
    traffic = Traffic(prompt_tokens=prompt, answer_tokens=answer)
    one = throughput(sizing, concurrency=concurrency, traffic=traffic)
    more = throughput(sizing, concurrency=concurrency + 1, traffic=traffic)
    assert more.tokens_per_second >= one.tokens_per_second * (1 - 1e-9)
    assert more.seconds_per_token >= one.seconds_per_token * (1 - 1e-9)
    assert one.concurrency <= sizing.max_num_seqs


@CASES
@given(requests(), st.floats(0.5, 100))
def test_what_a_pod_needs_follows_from_the_model(request_: SizingRequest, gbits: float):
    sizing = size(request_)
    assume(isinstance(sizing, Sizing))
    assert isinstance(sizing, Sizing)
    copied, streamed = host_needs(sizing, weights_on_disk=True), host_needs(sizing, weights_on_disk=False)
    assert copied.disk_gib > streamed.disk_gib
    assert copied.shared_memory_mib + copied.read_ahead_mib < copied.memory_mib
    slow = loading(sizing, source="object-store", network_gbits=gbits)
    fast = loading(sizing, source="streamed", network_gbits=gbits)
    assert 1 <= fast.weights <= slow.weights
    assert loading(sizing, source="streamed", network_gbits=gbits, compiled=True).compile <= fast.compile


@CASES
@given(models, gpus, st.sampled_from(DEGREES), st.integers(1, 64), st.integers(16, 8192))
def test_an_engine_with_a_larger_share_for_its_cache_holds_no_fewer_tokens(
    model: Architecture, gpu: Gpu, degree: int, batch: int, length: int
):
    assume(not model.encoder and not model.undivided(degree))
    request = EngineRequest(
        architecture=model, gpu=gpu, tensor_parallel=degree, max_batch_size=batch, max_seq_len=length, kv_fraction=0.5
    )
    half, most = size_engine(request), size_engine(replace(request, kv_fraction=0.95))
    assert half.kv_tokens <= most.kv_tokens
    assert most.sequences <= batch
    assert most.fits or not half.fits


@CASES
@given(requests(), st.integers(0, 1000))
def test_a_cache_holds_the_longest_sequence_that_it_names_and_none_longer(request_: SizingRequest, tenths: int):
    sizing = size(request_)
    assume(isinstance(sizing, Sizing))
    assert isinstance(sizing, Sizing)
    cache, gib = cache_of(sizing.deployment), tenths / 10
    assume(cache is not None)
    assert cache is not None
    longest = cache.longest(gib)
    assume(0 < longest < 2**31)
    assert cache.blocks_for(longest) <= cache.blocks(gib) < cache.blocks_for(longest + 16)
