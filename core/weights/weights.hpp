// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/weights/key_layout.hpp"
#include "core/weights/lora.hpp"
#include "core/weights/weights_file.hpp"

namespace dt2it {

struct WeightsOptions {
  std::filesystem::path
      adapter;  // a LoRA adapter's folder, merged into the weights of the folder itself
  std::filesystem::path
      base;  // for the folder of an adapter whose adapter_config.json names no folder
  std::optional<KeyLayout> layout;  // instead of what config.json's model_type says
};

// The weights of a checkpoint folder under canonical names: model.safetensors, or the files that
// model.safetensors.index.json lists; or those of an adapter's base with the adapter merged as they
// are read. Nothing is read but headers until it is asked for. Thread-safe. Throws ModelError
// naming file and tensor.
class Weights {
 public:
  struct Info {
    Dtype type = Dtype::none;
    std::vector<std::int64_t> shape;
  };

  explicit Weights(const std::filesystem::path& folder, const WeightsOptions& options = {});
  // A single file such as value_head.safetensors.
  static Weights of_file(const std::filesystem::path& file);
  // Whether a folder has weights, or is an adapter.
  static bool are_in(const std::filesystem::path& folder);

  // In the order in which they lie on disk.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  // Throws for a name that is not there, telling the nearest ones that are.
  Info info(std::string_view name) const;
  // Rows [first, first + rows) along the first dimension (a number by itself is one row), converted
  // to `type`.
  void read(std::string_view name, Dtype type, std::int64_t first, std::int64_t rows,
            void* to) const;
  // The stored bytes in a private mapping (see WeightsFile::view); null where the tensor is merged,
  // or not aligned.
  std::shared_ptr<std::byte> view(std::string_view name) const;

  // Throws one error for all names that are missing.
  void require(std::span<const std::string> names) const;
  // Stored names that are not among these.
  std::vector<std::string> unused(std::span<const std::string> names) const;

  // With tied embeddings lm_head.weight is the embedding, whether or not a file has it.
  bool tied() const { return tied_; }
  // Where config.json is: the base folder of an adapter.
  const std::filesystem::path& model_folder() const { return model_folder_; }
  // Empty without one.
  const std::filesystem::path& adapter_folder() const { return adapter_folder_; }
  // Names that come from the adapter as a whole (modules_to_save).
  bool from_adapter(std::string_view name) const;
  // What the user should know, a sentence each.
  const std::vector<std::string>& notes() const { return notes_; }
  // Metadata of the first file.
  const std::map<std::string, std::string>& metadata() const {
    return files_.front()->header().metadata;
  }

 private:
  struct Item {
    const WeightsFile* file = nullptr;
    const StoredTensor* stored = nullptr;
    const LoraAdapter::Pair* pair = nullptr;
    bool replaced = false;
  };
  Weights() = default;
  void open_folder();
  void add_file(std::shared_ptr<const WeightsFile> file);
  void read_config(const WeightsOptions& options);
  void merge_adapter();
  void tie();
  const Item* find(std::string_view name) const;
  const Item& at(std::string_view name) const;
  std::string nearest(std::string_view name) const;

  std::filesystem::path folder_, model_folder_, adapter_folder_;
  KeyLayout layout_ = KeyLayout::as_stored;
  bool tied_ = false;
  std::string embedding_;  // its canonical name, when tied
  std::vector<std::shared_ptr<const WeightsFile>> files_;
  std::unique_ptr<LoraAdapter> adapter_;
  LoraAdapter::Names adapted_;
  std::map<std::string, Item, std::less<>> items_;
  std::vector<std::string> names_;
  std::vector<std::string> notes_;
};

}  // namespace dt2it
