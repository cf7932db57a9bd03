#!/usr/bin/env bash
# Compiler flags worth a trial on a pod; sourced by worker.sh and slurm_gpu.sbatch. All are off:
# take away the `#` of one group, and compare the seconds of a step over some hundred of them.
# A flag that a compiler does not know ends the program at once. All processes need the same flags.

# TPU: parameters that fsdp gathers travel while the layer before still computes.
# LIBTPU_INIT_ARGS+=" --xla_enable_async_all_gather=true"
# LIBTPU_INIT_ARGS+=" --xla_tpu_enable_async_collective_fusion=true"
# LIBTPU_INIT_ARGS+=" --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true"
# LIBTPU_INIT_ARGS+=" --xla_tpu_enable_async_collective_fusion_multiple_steps=true"
# LIBTPU_INIT_ARGS+=" --xla_tpu_overlap_compute_collective_tc=true"

# TPU: gradients are summed over the data axis while the backward pass still runs.
# LIBTPU_INIT_ARGS+=" --xla_tpu_enable_data_parallel_all_reduce_opt=true"
# LIBTPU_INIT_ARGS+=" --xla_tpu_data_parallel_opt_different_sized_ops=true"

# TPU v5e, v6e: larger fusions, with half of the 128 MB of vector memory (default 16 MB).
# LIBTPU_INIT_ARGS+=" --xla_tpu_scoped_vmem_limit_kib=65536"

# GPU: collectives are scheduled beside computation, and small ones become few large ones.
# XLA_FLAGS+=" --xla_gpu_enable_latency_hiding_scheduler=true"
# XLA_FLAGS+=" --xla_gpu_all_reduce_combine_threshold_bytes=134217728"
# XLA_FLAGS+=" --xla_gpu_all_gather_combine_threshold_bytes=134217728"
# XLA_FLAGS+=" --xla_gpu_reduce_scatter_combine_threshold_bytes=67108864"

export LIBTPU_INIT_ARGS=${LIBTPU_INIT_ARGS:-} XLA_FLAGS=${XLA_FLAGS:-}
