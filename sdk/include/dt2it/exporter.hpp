// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

#include "dt2it/export.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

struct ExportNotes {
  std::string name;  // of the data set: letters, digits, _ - .
  std::string card;  // Markdown that says what the pairs are; for forms that have a place for it
};

struct ExportCounts {
  std::size_t written = 0;
  std::map<std::string, std::size_t>
      left_out;  // by reason: what the form cannot hold, images that are absent
};

// Writes preference pairs, images among them, as other programs read them. Called from one thread.
class DT2IT_API Exporter {
 public:
  static constexpr const char* kKind = "exporters";
  virtual ~Exporter() = default;

  // `folder` exists and is empty. Nothing is written outside of it. Images are taken from
  // context.media(), byte for byte. Throws Error when the disk is full.
  virtual ExportCounts write(Stream<PreferencePair>& pairs, const std::filesystem::path& folder,
                             const ExportNotes& notes) = 0;
};

}  // namespace dt2it
