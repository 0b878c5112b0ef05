// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace dt2it {

// As many as the machine runs at once; at least 1, also where that is not known.
unsigned hardware_threads();

// Calls work(0) ... work(count - 1), each index once, from at most `threads` threads (0: hardware_threads()), never more
// than there are indices. The caller is one of them: with one thread everything runs in it, in order. Whoever is free takes
// the next index, so that work of uneven length is shared well. Results that each call puts at its own index need no lock
// and can be read when this returns.
//
// Errors: after an exception no further index is begun; what is in flight ends, then the first exception is thrown on, as
// is the system's when it gives no more threads.
// Stop: once `stop` is set no further index is begun. False: some were not; true: all were worked on.
bool parallel_for(std::size_t count, std::size_t threads,
                  const std::function<void(std::size_t)>& work,
                  const std::atomic<bool>* stop = nullptr);

}  // namespace dt2it
