// SPDX-License-Identifier: Apache-2.0
#include "core/util/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/util/files.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {
namespace {

constexpr auto kSyncEvery = std::chrono::milliseconds(200);

std::uint64_t checksum(std::size_t index, std::string_view text) {
  return stable_hash(text, index + 1);
}

// Parses "<index> <checksum> <text>"; false when it is torn or damaged.
bool parse(std::string_view line, std::size_t& index, std::string_view& text) {
  std::uint64_t sum = 0;
  const char* end = line.data() + line.size();
  const auto a = std::from_chars(line.data(), end, index);
  if (a.ec != std::errc{} || a.ptr == end || *a.ptr != ' ') return false;
  const auto b = std::from_chars(a.ptr + 1, end, sum, 16);
  if (b.ec != std::errc{} || b.ptr == end || *b.ptr != ' ') return false;
  text = std::string_view(b.ptr + 1, static_cast<std::size_t>(end - b.ptr - 1));
  return checksum(index, text) == sum;
}

}  // namespace

Journal::Journal(std::filesystem::path file)
    : file_(std::move(file)), last_sync_(std::chrono::steady_clock::now()) {
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    throw Error(fmt::format("{}: cannot be opened: {}", file_.string(), std::strerror(errno)));
  const std::uint64_t file_size = std::filesystem::file_size(file_);
  LineReader lines(file_);
  std::string_view line;
  while (lines.next(line)) {
    std::size_t index = 0;
    std::string_view text;
    const std::uint64_t after = end_ + line.size() + 1;
    if (after > file_size || !parse(line, index, text)) break;  // torn: this and all behind it goes
    places_.try_emplace(index, Place{after - 1 - text.size(), text.size()});
    end_ = after;
  }
  if (end_ != file_size && ::ftruncate(descriptor_, static_cast<off_t>(end_)) != 0)
    throw Error(fmt::format("{}: cannot be cut: {}", file_.string(), std::strerror(errno)));
  ::lseek(descriptor_, static_cast<off_t>(end_), SEEK_SET);
}

Journal::~Journal() {
  if (descriptor_ < 0) return;
  ::fdatasync(descriptor_);
  ::close(descriptor_);
}

bool Journal::contains(std::size_t index) const {
  std::lock_guard lock(mutex_);
  return places_.contains(index);
}

std::size_t Journal::size() const {
  std::lock_guard lock(mutex_);
  return places_.size();
}

void Journal::append(std::size_t index, std::string_view text) {
  if (text.find('\n') != std::string_view::npos)
    throw Error(fmt::format("{}: a record must not contain a line break", file_.string()));
  const std::string line = fmt::format("{} {:016x} {}\n", index, checksum(index, text), text);
  std::lock_guard lock(mutex_);
  if (places_.contains(index)) return;
  try {
    write_all(descriptor_, line, file_);
  } catch (
      ...) {  // disk full, say: a torn record here would cut off those that other threads append
    if (::ftruncate(descriptor_, static_cast<off_t>(end_)) == 0)
      ::lseek(descriptor_, static_cast<off_t>(end_), SEEK_SET);
    throw;
  }
  end_ += line.size();
  places_.emplace(index, Place{end_ - 1 - text.size(), text.size()});
  const auto now = std::chrono::steady_clock::now();
  if (now - last_sync_ >= kSyncEvery) {
    ::fdatasync(descriptor_);
    last_sync_ = now;
  }
}

std::string Journal::read(std::size_t index) const {
  std::lock_guard lock(mutex_);
  const auto it = places_.find(index);
  if (it == places_.end())
    throw Error(fmt::format("{}: no record of item {}", file_.string(), index));
  std::string text(it->second.size, '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    const ssize_t n = ::pread(descriptor_, text.data() + got, text.size() - got,
                              static_cast<off_t>(it->second.offset + got));
    if (n <= 0)
      throw Error(fmt::format("{}: cannot be read: {}", file_.string(), std::strerror(errno)));
    got += static_cast<std::size_t>(n);
  }
  return text;
}

void Journal::sync() {
  std::lock_guard lock(mutex_);
  if (::fdatasync(descriptor_) != 0)
    throw Error(
        fmt::format("{}: cannot be flushed to disk: {}", file_.string(), std::strerror(errno)));
}

}  // namespace dt2it
