// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <string>

#include "dt2it/media.hpp"

namespace dt2it {

// Appends one value of a column as JSON: the form that datasets/preferences reads. Binary values, and structs
// {bytes, path}, are put into `store` and become media of this software's own form; a struct without bytes its path.
// Members that are null are left out, for Arrow gives all structs of a column the members that one of them has. Types that
// JSON has no form for become null.
void append_json(const arrow::Array& column, std::int64_t row, MediaStore& store, std::string& out);

void append_json_string(std::string_view text, std::string& out);

}  // namespace dt2it
