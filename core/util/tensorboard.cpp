// SPDX-License-Identifier: Apache-2.0
#include "core/util/tensorboard.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <boost/crc.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

// Protocol buffers' wire types.
constexpr unsigned kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
// Field numbers of tensorflow.Event, Summary, Summary.Value and SessionLog.
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr unsigned kSummaryValue = 1, kTag = 1, kSimpleValue = 2, kSessionStatus = 1,
                   kSessionStart = 1;

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
template <class Number>
void put_little_endian(std::string& out, Number number) {
  for (std::size_t i = 0; i < sizeof number; ++i) out += static_cast<char>(number >> (8 * i));
}
void put_key(std::string& out, unsigned field, unsigned type) {
  put_varint(out, field << 3 | type);
}
void put_integer(std::string& out, unsigned field, std::int64_t value) {
  put_key(out, field, kVarint);
  put_varint(out, static_cast<std::uint64_t>(value));
}
void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string begin_event(double wall_time) {
  std::string event;
  put_key(event, kWallTime, kFixed64);
  put_little_endian(event, std::bit_cast<std::uint64_t>(wall_time));
  return event;
}

std::uint32_t masked_crc(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;  // Castagnoli's
  crc.process_bytes(bytes.data(), bytes.size());
  return std::rotr(static_cast<std::uint32_t>(crc.checksum()), 15) + 0xA282EAD8;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data()
                                                                             : "localhost";
}

}  // namespace

std::string tensorboard_record(std::string_view event) {
  std::string record;
  put_little_endian(record, static_cast<std::uint64_t>(event.size()));
  put_little_endian(record, masked_crc(record));
  record += event;
  put_little_endian(record, masked_crc(event));
  return record;
}

std::string tensorboard_version_event(double wall_time) {
  std::string event = begin_event(wall_time);
  put_bytes(event, kFileVersion, "brain.Event:2");
  return event;
}

std::string tensorboard_start_event(double wall_time, std::int64_t step) {
  std::string event = begin_event(wall_time), session;
  put_integer(event, kStep, step);
  put_integer(session, kSessionStatus, kSessionStart);
  put_bytes(event, kSessionLog, session);
  return event;
}

std::string tensorboard_scalars_event(double wall_time, std::int64_t step,
                                      std::span<const TensorboardScalar> scalars) {
  std::string event = begin_event(wall_time), summary;
  put_integer(event, kStep, step);
  for (const TensorboardScalar& scalar : scalars) {
    std::string value;
    put_bytes(value, kTag, scalar.tag);
    put_key(value, kSimpleValue, kFixed32);
    put_little_endian(value, std::bit_cast<std::uint32_t>(static_cast<float>(scalar.value)));
    put_bytes(summary, kSummaryValue, value);
  }
  put_bytes(event, kSummary, summary);
  return event;
}

TensorboardWriter::TensorboardWriter(const std::filesystem::path& folder, std::int64_t first_step) {
  static std::atomic<unsigned> counter{0};
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw Error(fmt::format("{}: cannot be made: {}", folder.string(), failed.message()));
  // Readers take the files of a folder in the order of their names.
  const double time = now();
  file_ = folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{:03}",
                               static_cast<std::int64_t>(time), host_name(), ::getpid(),
                               counter.fetch_add(1));
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    throw Error(fmt::format("{}: cannot be made: {}", file_.string(), std::strerror(errno)));
  std::string head = tensorboard_record(tensorboard_version_event(time));
  if (first_step > 0) head += tensorboard_record(tensorboard_start_event(time, first_step));
  try {
    write_all(descriptor_, head, file_);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

TensorboardWriter::~TensorboardWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void TensorboardWriter::write(std::int64_t step, std::span<const TensorboardScalar> scalars) {
  if (!scalars.empty())
    write_all(descriptor_, tensorboard_record(tensorboard_scalars_event(now(), step, scalars)),
              file_);
}

}  // namespace dt2it
