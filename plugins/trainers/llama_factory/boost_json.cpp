// SPDX-License-Identifier: Apache-2.0
// Boost.JSON is used header-only; its bodies are compiled here, once for this library.
#include <boost/json/src.hpp>
