// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>

#include "plugins/common/records/row_reader.hpp"

namespace dt2it::records {

// A table as VLMEvalKit publishes suites: cells divided by tabs, quoted as CSV where they hold tabs, quotes or line breaks; the
// first line names the columns. Every cell is a text but those of `image`: base64, kept in `media`, or the `index` of an earlier
// row that has the same image. Throws DataError naming file and line.
std::unique_ptr<RowReader> open_tsv(const std::filesystem::path& file, MediaStore& media);

}  // namespace dt2it::records
