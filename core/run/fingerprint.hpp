// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

namespace dt2it {

// What a path stands for in a key: the bytes of a file, names and bytes of a folder's files. What is too long
// to be read at each start counts by size and modification time: files over 256 MiB, and in folders of more
// than that files over 64 KiB. Also
//   a pattern (* ? [ ]): the files it matches;
//   a path that goes on inside an archive (data.zip/train.jsonl), or that lies packed beside its place
//   (images.zip_aa for images): the archive, all its parts, and the rest of the path.
// "absent" when there is nothing: wherever nothing is, the same comes of it.
std::string fingerprint(const std::filesystem::path& path);

// The same for what a data set reads, which is told more by a path: records take the name of their data set
// from those of file and folder, their columns from a dataset_info.json beside the file, and a meta file of
// InternVL names other files. Not covered are pictures that records name, unless a parameter names their folder.
std::string data_fingerprint(const std::filesystem::path& path);

// Fingerprints that were asked for before: several experiments read the same folders.
class Fingerprints {
 public:
  const std::string& of(const std::string& path) { return of(path, false); }
  const std::string& of_data(const std::string& path) { return of(path, true); }

 private:
  const std::string& of(const std::string& path, bool data);

  std::map<std::pair<std::string, bool>, std::string> known_;
};

}  // namespace dt2it
