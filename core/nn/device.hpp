// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>

namespace dt2it::nn {

// The number of this process among those of its machine, as the launcher says: LOCAL_RANK (torchrun), or SLURM_LOCALID in a
// step of srun; 0 where neither does. `variable` gives the value of an environment variable or null. Throws ConfigError for
// what is no number.
int local_rank(const std::function<const char*(const char*)>& variable);

// The device that `text` names (cpu, cuda, cuda:N, or auto: cuda where there is one), where a process sees `count` CUDA
// devices. Processes that share a machine take one each, whether they see all of them or the launcher shows each its own. A
// CUDA device always has its index: without one it would be looked up anew in each thread. Throws ConfigError.
at::Device device_of(const std::string& text, int local_rank, int count);

}  // namespace dt2it::nn
