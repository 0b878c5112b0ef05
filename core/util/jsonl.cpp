// SPDX-License-Identifier: Apache-2.0
#include "core/util/jsonl.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace {
constexpr std::size_t kChunk = 1 << 18, kPadding = 64;  // stays in the cache while it is looked at
}

LineReader::LineReader(std::filesystem::path file, std::size_t max_line)
    : file_(std::move(file)), max_line_(max_line), stream_(std::fopen(file_.c_str(), "rb")) {
  if (!stream_)
    throw DataError(fmt::format("{}: cannot be opened: {}", file_.string(), std::strerror(errno)));
}

bool LineReader::fill() {
  if (begin_ < end_) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() < end_ + kChunk + kPadding)
    buffer_.resize(std::max(end_ + kChunk + kPadding, buffer_.size() * 2));
  const std::size_t wanted = buffer_.size() - kPadding - end_;
  const std::size_t got = std::fread(buffer_.data() + end_, 1, wanted, stream_.get());
  end_ += got;
  if (got < wanted && std::ferror(stream_.get()))
    throw DataError(fmt::format("{}: cannot be read: {}", file_.string(), std::strerror(errno)));
  return got == wanted;
}

bool LineReader::next(std::string_view& line) {
  for (std::size_t searched = begin_;;) {
    const char* const data = buffer_.data();
    const void* const newline =
        searched < end_ ? std::memchr(data + searched, '\n', end_ - searched) : nullptr;
    if (newline || (at_end_ && begin_ < end_)) {
      const std::size_t end =
          newline ? static_cast<std::size_t>(static_cast<const char*>(newline) - data) : end_;
      line = std::string_view(data + begin_, end - begin_);
      begin_ = newline ? end + 1 : end;
      if (++line_number_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
      return true;
    }
    if (at_end_) return false;
    if (end_ - begin_ > max_line_) {
      ++line_number_;
      throw DataError(fmt::format("{}: the line is longer than {} bytes", where(), max_line_));
    }
    const std::size_t unread = end_ - begin_;
    at_end_ = !fill();
    searched = unread;
  }
}

std::string LineReader::where() const { return fmt::format("{}:{}", file_.string(), line_number_); }

LineWriter::LineWriter(std::filesystem::path file) : file_(std::move(file)) {
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    throw Error(fmt::format("{}: cannot be written: {}", file_.string(), std::strerror(errno)));
}

LineWriter::~LineWriter() {
  if (descriptor_ < 0) return;
  try {
    flush();
  } catch (const Error&) {  // a writer that was not closed has made no promise
  }
  ::close(descriptor_);
}

void LineWriter::write(std::string_view line) {
  buffer_ += line;
  buffer_ += '\n';
  if (buffer_.size() >= kChunk) flush();
}

void LineWriter::flush() {
  write_all(descriptor_, buffer_, file_);
  buffer_.clear();
}

void LineWriter::close() {
  flush();
  const bool failed = ::close(descriptor_) != 0;
  descriptor_ = -1;
  if (failed)
    throw Error(fmt::format("{}: cannot be written: {}", file_.string(), std::strerror(errno)));
}

}  // namespace dt2it
