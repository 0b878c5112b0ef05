// SPDX-License-Identifier: Apache-2.0
#include "core/util/jsonl.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace {
constexpr std::size_t kChunk = 1 << 20;
}

LineReader::LineReader(std::filesystem::path file, std::size_t max_line)
    : file_(std::move(file)), max_line_(max_line), stream_(std::fopen(file_.c_str(), "rb")) {
  if (!stream_) throw DataError(fmt::format("{}: cannot be opened: {}", file_.string(), std::strerror(errno)));
}

bool LineReader::next(std::string_view& line) {
  std::size_t searched = begin_;
  for (;;) {
    const std::size_t newline = buffer_.find('\n', searched);
    if (newline != std::string::npos || (at_end_ && begin_ < buffer_.size())) {
      const std::size_t end = newline == std::string::npos ? buffer_.size() : newline;
      line = std::string_view(buffer_).substr(begin_, end - begin_);
      begin_ = newline == std::string::npos ? end : end + 1;
      if (++line_number_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
      return true;
    }
    if (at_end_) return false;
    if (buffer_.size() - begin_ > max_line_) {
      ++line_number_;
      throw DataError(fmt::format("{}: the line is longer than {} bytes", where(), max_line_));
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    buffer_.resize(searched + kChunk);
    const std::size_t got = std::fread(buffer_.data() + searched, 1, kChunk, stream_.get());
    buffer_.resize(searched + got);
    if (got < kChunk) {
      if (std::ferror(stream_.get()))
        throw DataError(fmt::format("{}: cannot be read: {}", file_.string(), std::strerror(errno)));
      at_end_ = true;
    }
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
  if (failed) throw Error(fmt::format("{}: cannot be written: {}", file_.string(), std::strerror(errno)));
}

}  // namespace dt2it
