// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

#include "dt2it/media.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it::llama_factory {

struct WrittenData {
  std::size_t pairs = 0;
  std::map<std::string, std::size_t> left_out;  // how many, by reason
};

// Writes pairs as LLaMA-Factory reads them: FOLDER/pairs.jsonl (sharegpt form; with `ranking`
// chosen and rejected, without it the chosen response as the last turn), FOLDER/dataset_info.json,
// and the images and videos by content. What its format cannot hold is left out and counted. Throws
// DataError when nothing is left.
WrittenData write_data(Stream<PreferencePair>& pairs, MediaStore& media,
                       const std::filesystem::path& folder, bool ranking);

}  // namespace dt2it::llama_factory
