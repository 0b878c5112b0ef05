// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bumped whenever a type or an interface in these headers changes shape. Host and plugin must have
// the same number: equality, no ranges.
#define DT2IT_SDK_ABI 5

#define DT2IT_VERSION "0.1.0"
