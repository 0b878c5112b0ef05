// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/weights/key_layout.hpp"
#include "core/weights/weights_file.hpp"

namespace dt2it {

// A LoRA adapter as PEFT saves it: adapter_config.json and adapter_model.safetensors.
//   merged weight = W + scale * (B A), scale = lora_alpha / r, or lora_alpha / sqrt(r) with
//   use_rslora
class LoraAdapter {
 public:
  // Whether a folder holds one, in whatever form.
  static bool is_adapter(const std::filesystem::path& folder);

  // Reads names only. Throws ModelError for what is not supported, naming the setting: other
  // methods than LoRA, DoRA, trained biases, fan_in_fan_out, alpha_pattern, adapters of embeddings
  // or convolutions, starts that change the base.
  explicit LoraAdapter(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::string& base() const { return base_; }  // base_model_name_or_path
  std::int64_t rank() const { return rank_; }
  double alpha() const { return alpha_; }
  bool rank_stabilised() const { return root_scale_; }

  struct Pair {
    const StoredTensor* a = nullptr;  // [r, in]
    const StoredTensor* b = nullptr;  // [out, r]
    double scale = 0;
  };
  // The adapted weights, and the tensors that were trained as a whole (modules_to_save: a head,
  // say), under canonical names. Throws ModelError for a half pair, and for ranks other than the
  // configured.
  struct Names {
    std::map<std::string, Pair, std::less<>> pairs;
    std::map<std::string, const StoredTensor*, std::less<>> replaced;
  };
  Names names(KeyLayout layout) const;

  const std::shared_ptr<const WeightsFile>& file() const { return file_; }
  // Adds scale * (B A), rows [first, first + rows), to `weight` [rows, in] in float32.
  void add(const Pair& pair, std::int64_t first, std::int64_t rows, float* weight) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path folder_;
  std::string base_;
  std::int64_t rank_ = 0;
  double alpha_ = 0;
  bool root_scale_ = false;
  bool ranks_differ_ = false;
  std::shared_ptr<const WeightsFile> file_;
};

}  // namespace dt2it
