// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weights_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dt2it/error.hpp"

namespace dt2it {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view what) {
  throw ModelError(fmt::format("{}: {}", path.string(), what));
}

// All of it, however often the system reads only a part.
void read_all(int descriptor, char* to, std::size_t size, std::uint64_t at,
              const std::filesystem::path& path) {
  while (size > 0) {
    const ssize_t got =
        ::pread(descriptor, to, std::min(size, std::size_t{1} << 30), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, fmt::format("cannot be read: {}", std::strerror(errno)));
    if (got == 0) fail(path, "was cut short while it was read");
    to += got;
    size -= static_cast<std::size_t>(got);
    at += static_cast<std::uint64_t>(got);
  }
}

}  // namespace

WeightsFile::WeightsFile(const std::filesystem::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(path, fmt::format("cannot be opened: {}", std::strerror(errno)));
  try {
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) fail(path, "is not a file");
    size_ = static_cast<std::uint64_t>(status.st_size);
    unsigned char length[8] = {};
    if (size_ < sizeof length) fail(path, "is not a safetensors file (shorter than its header)");
    read_all(descriptor_, reinterpret_cast<char*>(length), sizeof length, 0, path);
    std::uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | length[i];
    if (header > kLongestSafetensorsHeader || header > size_ - sizeof length)
      fail(path, fmt::format("is not a safetensors file, or is cut short (its header claims {} "
                             "bytes, the file has {})",
                             header, size_));
    data_ = sizeof length + header;
    std::string json(header, '\0');
    read_all(descriptor_, json.data(), json.size(), sizeof length, path);
    header_ = parse_safetensors_header(json, size_ - data_, path.string());
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

WeightsFile::~WeightsFile() { ::close(descriptor_); }

const StoredTensor* WeightsFile::find(std::string_view name) const {
  const auto found = header_.tensors.find(name);
  return found == header_.tensors.end() ? nullptr : &found->second;
}

void WeightsFile::read(const StoredTensor& tensor, std::uint64_t offset, void* to,
                       std::size_t size) const {
  if (offset > tensor.bytes() || size > tensor.bytes() - offset)
    fail(path_, "is read past the end of a tensor");
  read_all(descriptor_, static_cast<char*>(to), size, data_ + tensor.begin + offset, path_);
}

std::shared_ptr<std::byte> WeightsFile::view(const StoredTensor& tensor) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<std::byte> map = map_.lock();
  if (!map) {
    // NORESERVE: pages are copied only when they are written, so nothing is promised for the rest.
    void* mapped =
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor_, 0);
    if (mapped == MAP_FAILED)
      fail(path_, fmt::format("cannot be mapped into memory: {}", std::strerror(errno)));
    map.reset(static_cast<std::byte*>(mapped),
              [size = size_](std::byte* begin) { ::munmap(begin, size); });
    map_ = map;
  }
  return {map, map.get() + data_ + tensor.begin};
}

bool WeightsFile::aligned(const StoredTensor& tensor) const {
  return (data_ + tensor.begin) % std::max<std::size_t>(1, dtype_size(tensor.type)) == 0;
}

}  // namespace dt2it
