// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace dt2it::records {

// What an archive may unpack to before it is taken for a bomb.
struct UnpackLimits {
  std::uint64_t member_bytes = std::uint64_t{4} << 30;
  std::uint64_t members = 50'000'000;
  double ratio = 200;  // of what comes out to what the archive holds ...
  std::uint64_t free_bytes = std::uint64_t{64} << 20;  // ... beyond so much
};

// By the name: .zip, .tar, .tgz, .tar.gz, .tar.xz, .tar.zst, .7z, or the first part of one that was
// split (x.zip_aa, x.zip.part-aa, x.zip.001).
bool is_archive(const std::filesystem::path& file);

// The folder with the members of `archive` below `scratch`: unpacked when first asked for, taken up
// where it stopped when that was interrupted. Only regular files come out, under names that stay
// inside; links, devices, names with ".." and names that cannot be read are left out and told to
// `warn`. Names are UTF-8, whatever the locale. Memory is a few
// hundred KB. Throws DataError: damaged, cut short, over a limit, disk too small.
std::filesystem::path unpacked(const std::filesystem::path& archive,
                               const std::filesystem::path& scratch,
                               const std::function<void(const std::string&)>& warn,
                               const UnpackLimits& limits = {});

}  // namespace dt2it::records
