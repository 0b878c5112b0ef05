// SPDX-License-Identifier: Apache-2.0
#pragma once

// Types that cross the border between host and plugin (thrown, or passed as interface) must have one
// identity in the process although plugins are built with hidden visibility.
#define DT2IT_API __attribute__((visibility("default")))
