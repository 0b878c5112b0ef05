// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace dt2it {

struct TensorboardScalar {
  std::string_view tag;  // "train/loss": what is before the slash groups charts
  double value = 0;      // kept in single precision
};

// The curves of one run as TensorBoard's event file: TFRecords (length and data, each with its
// masked CRC-32C) of Event messages. Several files in a folder are one run, so every start of a
// training writes one of its own. Every write reaches the file at once, whole or, when the process
// is killed, torn at the end, which readers pass over. Not thread-safe.
class TensorboardWriter {
 public:
  // Makes `folder` where it is absent. `first_step`: earlier files of the folder are not valid from
  // there on (a resumed training does some steps again); 0: nothing is taken back. Throws Error.
  explicit TensorboardWriter(const std::filesystem::path& folder, std::int64_t first_step = 0);
  ~TensorboardWriter();
  TensorboardWriter(const TensorboardWriter&) = delete;
  TensorboardWriter& operator=(const TensorboardWriter&) = delete;

  void write(std::int64_t step, std::span<const TensorboardScalar> scalars);

  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
};

// What the files are made of. Seconds since 1970.
std::string tensorboard_record(std::string_view event);
std::string tensorboard_version_event(double wall_time);
std::string tensorboard_start_event(double wall_time, std::int64_t step);
std::string tensorboard_scalars_event(double wall_time, std::int64_t step,
                                      std::span<const TensorboardScalar> scalars);

}  // namespace dt2it
