// SPDX-License-Identifier: Apache-2.0
#include "core/util/file_writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace {
constexpr std::uint64_t kTellDisk = 8 << 20;
}

FileWriter::FileWriter(std::filesystem::path file, Begin begin) : file_(std::move(file)) {
  descriptor_ =
      ::open(file_.c_str(),
             O_WRONLY | O_CREAT | O_CLOEXEC | (begin == Begin::empty ? O_TRUNC : O_APPEND), 0644);
  if (descriptor_ < 0)
    throw Error(fmt::format("{}: cannot be written: {}", file_.string(), std::strerror(errno)));
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileWriter::write(std::string_view bytes) {
  write_all(descriptor_, bytes, file_);
  waiting_ += bytes.size();
  if (waiting_ < kTellDisk) return;
  waiting_ = 0;
#ifdef SYNC_FILE_RANGE_WRITE
  ::sync_file_range(descriptor_, 0, 0,
                    SYNC_FILE_RANGE_WRITE);  // does not wait; where it fails, the flush does it all
#endif
}

void FileWriter::close() {
  const bool failed = ::close(descriptor_) != 0;
  descriptor_ = -1;
  if (failed)
    throw Error(fmt::format("{}: cannot be written: {}", file_.string(), std::strerror(errno)));
}

}  // namespace dt2it
