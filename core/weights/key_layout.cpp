// SPDX-License-Identifier: Apache-2.0
#include "core/weights/key_layout.hpp"

#include <initializer_list>

namespace dt2it {
namespace {

bool cut(std::string_view& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return true;
}

bool starts_with_any(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes)
    if (name.starts_with(prefix)) return true;
  return false;
}

}  // namespace

KeyLayout key_layout_of(std::string_view model_type) {
  if (model_type == "qwen2_5_vl") return KeyLayout::qwen2_5_vl;
  if (model_type == "qwen3_vl") return KeyLayout::qwen3_vl;
  return KeyLayout::as_stored;
}

std::string canonical_key(KeyLayout layout, std::string_view stored) {
  std::string_view name = stored;
  while (cut(name, "base_model.model.") || cut(name, "pretrained_model.") || cut(name, "module.")) {
  }
  if (layout == KeyLayout::as_stored) return std::string(name);
  const bool nested = layout == KeyLayout::qwen3_vl;
  if (cut(name, "model.visual.") || cut(name, "visual."))
    return (nested ? "model.visual." : "visual.") + std::string(name);
  if (cut(name, "language_model.lm_head.")) return "lm_head." + std::string(name);
  if (cut(name, "model.language_model.") || cut(name, "language_model.model.") ||
      (starts_with_any(name, {"model.layers.", "model.embed_tokens.", "model.norm."}) &&
       cut(name, "model.")))
    return (nested ? "model.language_model." : "model.") + std::string(name);
  return std::string(name);
}

bool is_body_key(std::string_view canonical) {
  return starts_with_any(canonical, {"model.", "visual.", "lm_head."});
}

}  // namespace dt2it
