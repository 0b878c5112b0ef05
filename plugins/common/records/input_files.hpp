// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "dt2it/context.hpp"

namespace dt2it::records {

// One file of records and how it is to be read.
struct InputFile {
  std::filesystem::path file;        // .json, .jsonl, .ndjson or .parquet
  std::filesystem::path media_root;  // of relative paths
  std::string source;                // data set it belongs to
  double share = 1;                  // of its records, when a meta file says so
};

// The files meant by `path`, in the order of their names:
//   a file; a folder (its record files, else those below it); a pattern with * ? [ ];
//   an archive, or a path that goes on inside one (data.zip/annotations/*.jsonl): unpacked into the
//   scratch folder; InternVL's meta file, which names subsets {"root", "annotation",
//   "repeat_time"}.
// A folder that is not there may lie packed beside its place (images.zip_aa for images).
// Throws DataError naming what is allowed when there are none. `media_root` empty: the folder of
// each file; it may be an archive, or a pattern of several, which are then taken as one folder. `source` empty: a meta file's name of the subset, else the
// folder's name for shards ("train-00000-of-00002"), else the file's.
std::vector<InputFile> input_files(const std::filesystem::path& path,
                                   const std::filesystem::path& media_root,
                                   const std::string& source, Context& context);

// `text` without commas before a closing bracket, which hand-written meta files have.
std::string without_trailing_commas(std::string text);

}  // namespace dt2it::records
