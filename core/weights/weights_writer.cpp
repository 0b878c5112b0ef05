// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weights_writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>

#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/weights/safetensors_header.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::string_view kPartial = ".partial";

[[noreturn]] void fail(const fs::path& path, std::string_view what) {
  throw ModelError(fmt::format("{}: {}", path.string(), what));
}

std::uint64_t bytes_of(const TensorPlan& plan) {
  return StoredTensor{plan.type, plan.shape}.count() * dtype_size(plan.type);
}

// Writes through memory, so that many small tensors are few system calls.
class Output {
 public:
  explicit Output(const fs::path& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail(path, fmt::format("cannot be written: {}", std::strerror(errno)));
    held_.reserve(kHeld);
  }
  ~Output() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view bytes) {
    if (held_.size() + bytes.size() > kHeld) flush();
    if (bytes.size() > kHeld)
      put(bytes);
    else
      held_ += bytes;
  }

  void close() {
    flush();
    if (::fsync(descriptor_) != 0 || ::close(std::exchange(descriptor_, -1)) != 0)
      fail(path_, fmt::format("cannot be flushed to disk: {}", std::strerror(errno)));
  }

 private:
  static constexpr std::size_t kHeld = 1 << 20;
  void flush() {
    put(held_);
    held_.clear();
  }
  void put(std::string_view bytes) {
    try {
      write_all(descriptor_, bytes, path_);
    } catch (const Error& error) {
      throw ModelError(error.what());
    }
  }
  const fs::path path_;
  int descriptor_;
  std::string held_;
};

void flush_folder(const fs::path& folder) {
  const int descriptor =
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

fs::path partial(fs::path file) { return file += kPartial; }

void check(const fs::path& where, const std::vector<TensorPlan>& tensors) {
  std::set<std::string_view> names;
  for (const TensorPlan& plan : tensors) {
    if (!readable(plan.type))
      fail(where, fmt::format("tensor '{}' has a type that is not written", plan.name));
    if (plan.name == "__metadata__" || !names.insert(plan.name).second)
      fail(where, fmt::format("tensor '{}' cannot be written: the name is taken", plan.name));
  }
}

// The file under its temporary name.
void write_partial(const fs::path& file, std::vector<TensorPlan> tensors,
                   const std::map<std::string, std::string>& metadata, const ByteSource& source) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return dtype_size(a.type) > dtype_size(b.type);
  });
  std::vector<std::pair<std::string, StoredTensor>> entries;
  for (const TensorPlan& plan : tensors)
    entries.emplace_back(plan.name, StoredTensor{plan.type, plan.shape});
  Output output(partial(file));
  output.write(safetensors_header(entries, metadata));
  for (const TensorPlan& plan : tensors) {
    std::uint64_t left = bytes_of(plan);
    source(plan, [&](std::span<const std::byte> bytes) {
      if (bytes.size() > left)
        fail(file, fmt::format("tensor '{}' is given more bytes than it has", plan.name));
      left -= bytes.size();
      output.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    });
    if (left != 0)
      fail(file, fmt::format("tensor '{}' is given {} bytes too few", plan.name, left));
  }
  output.close();
}

// Removes what was begun, unless it was finished.
struct Begun {
  std::vector<fs::path> files;
  ~Begun() {
    std::error_code ignored;
    for (const fs::path& file : files) fs::remove(partial(file), ignored);
  }
};

void put_in_place(const fs::path& file) {
  std::error_code error;
  fs::rename(partial(file), file, error);
  if (error) fail(file, fmt::format("cannot be put in place: {}", error.message()));
}

bool is_shard(const std::string& name) {
  return name.starts_with("model-") && name.ends_with(".safetensors");
}

// total_size counts data only, as Hugging Face does.
std::string index_json(const std::vector<std::vector<TensorPlan>>& shards,
                       const std::vector<fs::path>& files, std::uint64_t parameters,
                       std::uint64_t bytes) {
  std::map<std::string, std::string> map;
  for (std::size_t i = 0; i < shards.size(); ++i)
    for (const TensorPlan& plan : shards[i]) map[plan.name] = files[i].filename().string();
  std::string text = fmt::format(
      "{{\n  \"metadata\": {{\n    \"total_parameters\": {},\n    \"total_size\": {}\n  }},\n"
      "  \"weight_map\": {{",
      parameters, bytes);
  const char* separator = "\n";
  for (const auto& [name, file] : map) {
    text += std::exchange(separator, ",\n");
    text += "    ";
    append_json_string(text, name);
    text += ": ";
    append_json_string(text, file);
  }
  return text + "\n  }\n}\n";
}

}  // namespace

void write_weights_file(const fs::path& file, const std::vector<TensorPlan>& tensors,
                        const std::map<std::string, std::string>& metadata,
                        const ByteSource& source) {
  check(file, tensors);
  Begun begun{{file}};
  write_partial(file, tensors, metadata, source);
  put_in_place(file);
  flush_folder(file.parent_path());
}

WrittenWeights write_weights(const fs::path& folder, const std::vector<TensorPlan>& tensors,
                             const WriteOptions& options, const ByteSource& source) {
  check(folder, tensors);
  std::vector<std::vector<TensorPlan>> shards(1);
  std::uint64_t filled = 0, parameters = 0;
  WrittenWeights written;
  for (const TensorPlan& plan : tensors) {
    const std::uint64_t bytes = bytes_of(plan);
    if (!shards.back().empty() &&
        (filled > options.max_shard_bytes || bytes > options.max_shard_bytes - filled)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(plan);
    filled += bytes;
    written.bytes += bytes;
    parameters += StoredTensor{plan.type, plan.shape}.count();
  }
  std::vector<fs::path> files;
  for (std::size_t i = 0; i < shards.size(); ++i)
    files.push_back(folder / (shards.size() == 1 ? kWhole
                                                 : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                               i + 1, shards.size())));
  written.files = files.size();

  Begun begun{files};
  for (std::size_t i = 0; i < shards.size(); ++i)
    write_partial(files[i], shards[i], options.metadata, source);
  const fs::path index = folder / kIndex;
  if (files.size() > 1) {
    begun.files.push_back(index);
    Output output(partial(index));
    output.write(index_json(shards, files, parameters, written.bytes));
    output.close();
  }

  // Readers take model.safetensors first, then the index. Names of as many shards collide: the old
  // index goes first then, and a crash leaves a folder without weights, never one with mixed ones.
  const bool collide = files.size() > 1 && std::any_of(files.begin(), files.end(),
                                                       [](const auto& f) { return fs::exists(f); });
  if (collide) {
    std::error_code ignored;
    fs::remove(index, ignored);
    flush_folder(folder);
  }
  for (const fs::path& file : files) put_in_place(file);
  if (files.size() > 1) put_in_place(index);
  flush_folder(folder);
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::string name = entry.path().filename().string();
    if (name.ends_with(kPartial))
      name.resize(name.size() - kPartial.size());  // left by a process that died
    const bool weights = name == kWhole || name == kIndex || is_shard(name);
    const bool is_new = std::find(files.begin(), files.end(), entry.path()) != files.end() ||
                        (files.size() > 1 && entry.path() == index);
    if (weights && !is_new) old.push_back(entry.path());
  }
  for (const fs::path& file : old) fs::remove(file);
  if (!old.empty()) flush_folder(folder);
  return written;
}

}  // namespace dt2it
