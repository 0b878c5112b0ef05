// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dt2it::testing {

// How many times as long this build may take as one without sanitizers.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DT2IT_SANITIZED
#endif
#endif
#if defined(DT2IT_SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr double kSlowness = 30;
#else
inline constexpr double kSlowness = 1;
#endif

}  // namespace dt2it::testing
