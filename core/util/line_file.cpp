// SPDX-License-Identifier: Apache-2.0
#include "core/util/line_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "dt2it/error.hpp"

namespace dt2it {

LineFile::LineFile(std::filesystem::path file) : file_(std::move(file)) {
  descriptor_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0)
    throw DataError(fmt::format("{}: cannot be opened: {}", file_.string(), std::strerror(errno)));
  std::string block(std::size_t{1} << 20, '\0');
  std::uint64_t at = 0, begin = 0;
  bool blank = true;
  for (;;) {
    const ssize_t got = ::pread(descriptor_, block.data(), block.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const std::string reason = std::strerror(errno);
      ::close(descriptor_);
      throw DataError(fmt::format("{}: cannot be read: {}", file_.string(), reason));
    }
    if (got == 0) break;
    const char* const start = block.data();
    const char* const end = start + got;
    for (const char* c = start; c != end;) {
      if (blank)  // most lines are not: their first byte settles it
        while (c != end && (*c == ' ' || *c == '\t' || *c == '\r')) ++c;
      if (c == end) break;
      if (*c != '\n') {
        blank = false;
        c = static_cast<const char*>(std::memchr(c, '\n', static_cast<std::size_t>(end - c)));
        if (!c) break;
      }
      if (!blank) begins_.push_back(begin);
      begin = at + static_cast<std::uint64_t>(++c - start);
      blank = true;
    }
    at += static_cast<std::uint64_t>(got);
  }
  if (!blank) begins_.push_back(begin);
  begins_.push_back(at);
}

LineFile::~LineFile() { ::close(descriptor_); }

std::string LineFile::line(std::size_t index) const {
  const std::uint64_t begin = begins_[index], end = begins_[index + 1];
  std::string text;
  text.reserve(end - begin + 64);  // parsers look beyond the end
  text.resize(end - begin);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t got = ::pread(descriptor_, text.data() + done, text.size() - done,
                                static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw DataError(fmt::format("{}: cannot be read: {}", where(index),
                                  got < 0 ? std::strerror(errno) : "it has shrunk"));
    done += static_cast<std::size_t>(got);
  }
  // Blank lines may follow before the next one begins.
  if (const std::size_t newline = text.find('\n'); newline != std::string::npos)
    text.resize(newline);
  if (index == 0 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

std::string LineFile::where(std::size_t index) const {
  return fmt::format("{}: record {}", file_.string(), index + 1);
}

}  // namespace dt2it
