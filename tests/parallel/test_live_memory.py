import jax
import jax.numpy as jnp
import pytest

from jaxedit.parallel.live_memory import peak_bytes

KB = 1024
X = jax.ShapeDtypeStruct((16, 16), jnp.float32)  # 1 KB


def test_products_are_in_memory_and_what_is_between_them_is_not():
    def layer(x):
        return jnp.tanh(x @ x + 1) * 2

    assert peak_bytes(layer, X) == KB  # written over the product
    assert peak_bytes(lambda x: layer(x) @ x, X) == 2 * KB
    assert peak_bytes(lambda x: layer(layer(layer(x))), X) == 2 * KB


def test_arguments_and_dead_values_do_not_count():
    def wasteful(x):
        jnp.concatenate([x @ x] * 9)
        return x.sum()

    assert peak_bytes(wasteful, X) == 4
    assert peak_bytes(lambda x: x + 1, X) == KB
    assert peak_bytes(lambda x: x + 1, X, count_results=False) == 0


def test_another_dtype_is_another_array():
    def softmax(x):
        return jax.nn.softmax(x @ x).astype(jnp.bfloat16) @ x.astype(jnp.bfloat16)

    # the logits, their maxima and sums, and the 16-bit weights
    assert peak_bytes(softmax, X) == KB + 2 * 64 + KB // 2


def test_a_loop_keeps_what_it_stacks_and_carries_in_place():
    def step(carry, w):
        return carry @ w, carry

    stack = jax.ShapeDtypeStruct((8, 16, 16), jnp.float32)

    def run(x, stack):
        return jax.lax.scan(step, x @ x, stack)

    # the carry, eight results, and within the loop a slice, the new carry and one result
    assert peak_bytes(run, X, stack) == pytest.approx((1 + 8 + 3) * KB, abs=KB)
    assert peak_bytes(lambda x, s: run(x, s)[0], X, stack) <= 5 * KB


def test_a_part_is_written_in_place():
    def fill(x):
        cache = jnp.zeros((64, 16))
        for i in range(4):
            cache = jax.lax.dynamic_update_slice(cache, x @ x, (16 * i, 0))
        return cache

    assert peak_bytes(fill, X) == 5 * KB


def test_the_estimate_is_near_the_compilers_plan():
    def loss(params, x):
        def layer(x, w):
            return x + jnp.tanh(x @ w), None

        return jnp.sum(jax.lax.scan(layer, x, params)[0] ** 2)

    arguments = (
        jax.ShapeDtypeStruct((4, 64, 64), jnp.float32),
        jax.ShapeDtypeStruct((512, 64), jnp.float32),
    )
    compiled = jax.jit(jax.grad(loss)).lower(*arguments).compile().memory_analysis()
    planned = compiled.temp_size_in_bytes + compiled.output_size_in_bytes
    assert peak_bytes(jax.grad(loss), *arguments) == pytest.approx(planned, rel=0.4)
