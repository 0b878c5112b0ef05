// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace dt2it {

// All throw Error with the path and the system's reason.

std::string read_file(const std::filesystem::path& file);

// `no` is for what can be made again: a killed process leaves it whole or absent all the same, a power cut
// may leave it short.
enum class Flush { to_disk, no };

// Whole or not at all: written beside, flushed to disk, renamed into place.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes,
                           Flush flush = Flush::to_disk);

// Writes everything, however often the system writes only a part.
void write_all(int descriptor, std::string_view bytes, const std::filesystem::path& named);

// Makes a folder and those it lies in; nothing where it is there. Throws Error when it cannot.
void make_folder(const std::filesystem::path& folder);

// Flushes every file and folder below a folder to disk, the folder itself last.
void fsync_tree(const std::filesystem::path& folder);

// Renames a folder and flushes both parents; the target must not exist.
void rename_into_place(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace dt2it
