// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the services want by default; each of it can be set by the parameter of that name.

#include <array>
#include <optional>
#include <string_view>

namespace dt2it::openai {

struct Service {
  std::string_view name;
  std::string_view endpoint;  // empty: must be given
  std::string_view api_key_env;
  std::string_view api_key_header = "Authorization";
  std::string_view wire = "openai";
  std::string_view json_mode = "object";
  bool completion_tokens = true;           // max_completion_tokens is tried first
  std::optional<double> temperature = {};  // of calls that state none
};

inline constexpr std::array<Service, 9> kServices{{
    {"openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "Authorization", "openai", "schema"},
    {"azure", "", "AZURE_OPENAI_API_KEY", "api-key", "openai", "schema"},
    {"anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "x-api-key", "anthropic",
     "none"},
    {"gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"},
    {"deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "Authorization", "openai",
     "object", false},
    {"openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "Authorization", "openai",
     "object", false},
    {"vllm", "http://127.0.0.1:8000/v1", "", "Authorization", "openai", "schema"},
    // Its own default is 0.8.
    {"llama_cpp", "http://127.0.0.1:8080/v1", "", "Authorization", "openai", "schema", false, 1.0},
    {"ollama", "http://127.0.0.1:11434/v1", "", "Authorization", "openai", "schema", false},
}};

}  // namespace dt2it::openai
