// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>  // defines __GLIBC__

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace dt2it::nn {

// From now on the process keeps the memory that it frees for its next tensors. A training step
// takes and frees the same activations and gradients again and again; getting their pages from the
// system each time is 3 % of a step of 100 M weights on a CPU. The peak stays as it is. For
// trainers to call; scoring gives its memory back.
inline void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

}  // namespace dt2it::nn
