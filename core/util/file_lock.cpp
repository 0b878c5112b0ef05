// SPDX-License-Identifier: Apache-2.0
#include "core/util/file_lock.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "dt2it/error.hpp"

namespace dt2it {

std::unique_ptr<FileLock> FileLock::try_lock(const std::filesystem::path& file,
                                             std::string& holder) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0)
    throw Error(fmt::format("{}: cannot be opened: {}", file.string(), std::strerror(errno)));
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    char text[256];
    const ssize_t size = ::pread(descriptor, text, sizeof text, 0);
    holder = size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "another process";
    ::close(descriptor);
    if (reason == EWOULDBLOCK) return nullptr;
    throw Error(fmt::format("{}: cannot be locked: {}", file.string(), std::strerror(reason)));
  }
  // Its last holder may have removed the file since we opened it: a lock on that one would keep nobody out.
  struct stat ours{}, there{};
  if (::fstat(descriptor, &ours) != 0 || ::stat(file.c_str(), &there) != 0 ||
      ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
    ::close(descriptor);
    return try_lock(file, holder);
  }
  char host[128] = "this machine";
  ::gethostname(host, sizeof host - 1);
  const std::string text = fmt::format("process {} on {} since {:%Y-%m-%d %H:%M:%S}", ::getpid(),
                                       host, fmt::localtime(std::time(nullptr)));
  // Only for the message that others print: a failure to write it is no failure to lock.
  [[maybe_unused]] const int cut = ::ftruncate(descriptor, 0);
  [[maybe_unused]] const ssize_t written = ::pwrite(descriptor, text.data(), text.size(), 0);
  return std::unique_ptr<FileLock>(new FileLock(descriptor));
}

FileLock::~FileLock() { ::close(descriptor_); }

}  // namespace dt2it
