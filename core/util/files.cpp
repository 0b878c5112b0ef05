// SPDX-License-Identifier: Apache-2.0
#include "core/util/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw Error(fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

void fsync_path(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(path, "cannot be opened");
  const int result = ::fsync(descriptor);
  ::close(descriptor);
  if (result != 0 && errno != EINVAL) fail(path, "cannot be flushed to disk");
}

}  // namespace

std::string read_file(const fs::path& file) {
  // Not ifstream: it gives no reason, and for a folder throws something else.
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(file, "cannot be opened");
  std::string bytes;
  for (;;) {
    constexpr std::size_t kChunk = 1 << 16;
    const std::size_t size = bytes.size();
    bytes.resize(size + std::max(kChunk, size / 2));
    const ssize_t got = ::read(descriptor, bytes.data() + size, bytes.size() - size);
    bytes.resize(size + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got > 0 || (got < 0 && errno == EINTR)) continue;
    const int reason = errno;
    ::close(descriptor);
    if (got == 0) return bytes;
    errno = reason;
    fail(file, "cannot be read");
  }
}

void write_all(int descriptor, std::string_view bytes, const fs::path& named) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(named, "cannot be written");
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void write_file_atomically(const fs::path& file, std::string_view bytes, Flush flush) {
  static std::atomic<unsigned> counter{0};
  const fs::path part = file.parent_path() / fmt::format(".{}.{}.{}.part", file.filename().string(),
                                                         ::getpid(), counter.fetch_add(1));
  const int descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) fail(part, "cannot be written");
  try {
    write_all(descriptor, bytes, file);
    if (flush == Flush::to_disk && ::fsync(descriptor) != 0)
      fail(file, "cannot be flushed to disk");
  } catch (...) {
    ::close(descriptor);
    ::unlink(part.c_str());
    throw;
  }
  ::close(descriptor);
  if (::rename(part.c_str(), file.c_str()) != 0) {
    ::unlink(part.c_str());
    fail(file, "cannot be replaced");
  }
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw Error(fmt::format("the folder {} cannot be made: {}", folder.string(), error.message()));
}

void fsync_tree(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_symlink()) continue;
    if (entry.is_directory())
      fsync_tree(entry.path());
    else if (entry.is_regular_file())
      fsync_path(entry.path());
  }
  fsync_path(folder);
}

void rename_into_place(const fs::path& from, const fs::path& to) {
  fs::create_directories(to.parent_path());
  if (::rename(from.c_str(), to.c_str()) != 0) fail(to, "cannot be put in place");
  fsync_path(to.parent_path());
  fsync_path(from.parent_path());
}

}  // namespace dt2it
