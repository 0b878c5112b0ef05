// SPDX-License-Identifier: Apache-2.0
// The mock endpoint by hand: ./dev mock --help
#include <fmt/format.h>
#include <signal.h>
#include <simdjson.h>
#include <unistd.h>

#include <boost/beast/core/detail/base64.hpp>
#include <boost/program_options.hpp>
#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/mock_endpoint/mock_endpoint.hpp"

namespace dt2it {
namespace {

namespace po = boost::program_options;
using simdjson::dom::element;

std::string text_of(const element& object, const char* key) {
  std::string_view text;
  return object.at_key(key).get(text) ? "" : std::string(text);
}

Media image_of(std::string_view url, MediaStore& media) {
  const std::size_t comma = url.find(',');
  if (!url.starts_with("data:") || comma == std::string_view::npos) return {};
  const std::string_view base64 = url.substr(comma + 1);
  namespace detail = boost::beast::detail::base64;
  Bytes bytes(detail::decoded_size(base64.size()));
  bytes.resize(detail::decode(bytes.data(), base64.data(), base64.size()).first);
  return media.put(bytes, "sent");
}

// A chat-completions body as the request that it was made of.
ChatRequest request_of(const element& body, MediaStore& media) {
  ChatRequest request;
  simdjson::dom::array messages, parts;
  if (!body.at_key("messages").get(messages))
    for (const element message : messages) {
      const std::string role = text_of(message, "role");
      Message one;
      one.role = role == "system"      ? Message::Role::system
                 : role == "assistant" ? Message::Role::assistant
                                       : Message::Role::user;
      element content;
      if (message.at_key("content").get(content)) continue;
      if (content.is_string()) {
        one.content.push_back(Part::of_text(text_of(message, "content")));
      } else if (!content.get(parts)) {
        for (const element part : parts) {
          element image;
          if (!part.at_key("image_url").get(image))
            one.content.push_back(Part::of_image(image_of(text_of(image, "url"), media)));
          else
            one.content.push_back(Part::of_text(text_of(part, "text")));
        }
      }
      request.messages.push_back(std::move(one));
    }
  double number = 0;
  std::int64_t count = 0;
  if (!body.at_key("temperature").get(number)) request.sampling.temperature = number;
  if (!body.at_key("top_p").get(number)) request.sampling.top_p = number;
  for (const char* name : {"max_completion_tokens", "max_tokens"})
    if (!body.at_key(name).get(count)) request.sampling.max_tokens = count;
  if (!body.at_key("seed").get(count))
    request.sampling.sample = count;  // draws are told apart by it
  element format;
  if (!body.at_key("response_format").get(format)) {
    request.format = ResponseFormat::json;
    element schema, inner;
    if (!format.at_key("json_schema").get(schema) && !schema.at_key("schema").get(inner))
      request.json_schema = simdjson::minify(inner);
  }
  return request;
}

int enter(int argc, char** argv) {
  mock::Options options;
  std::string experiment, fault = "ok";
  double faults = 0;
  po::options_description known("options");
  known.add_options()("port", po::value(&options.port)->default_value(8900),
                      "where to listen, on 127.0.0.1")("latency", po::value(&options.latency),
                                                       "seconds a call takes")(
      "slots", po::value(&options.slots), "calls worked on at once, the others queue in silence")(
      "rate", po::value(&options.rate), "calls a second; more get 429")(
      "content", po::value(&options.content), "what is answered")(
      "faults", po::value(&faults), "share of calls that meet passing trouble at first")(
      "simulate", po::value(&experiment)->value_name("FILE"),
      "answer as the simulated models of this experiment do: the model of a request names its "
      "[mllms.*] table")("certificate", po::value(&options.certificate), "PEM file: speak TLS")(
      "key", po::value(&options.key), "PEM file of its key")("help,h", po::bool_switch(),
                                                             "this text");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, known), values);
  if (values["help"].as<bool>()) {
    std::cout << "usage: ./dev mock [options]\n\nA chat-completions endpoint for trying things "
                 "out. A request whose model is "
                 "mock:CASE meets that case:\n ";
    for (const std::string& name : mock::cases()) std::cout << ' ' << name;
    std::cout << "\n\n" << known;
    return 0;
  }
  po::notify(values);
  testing::TemporaryFolder folder;
  std::unique_ptr<cli::Installation> installation;
  std::unique_ptr<HostMedia> media;
  std::unique_ptr<StageScope> scope;
  if (!experiment.empty()) {
    const cli::CommonOptions common;
    installation = std::make_unique<cli::Installation>(common);
    const Experiment loaded = cli::load_all({experiment}, common, installation->registry).front();
    media = std::make_unique<HostMedia>(installation->registry, folder.path() / "media");
    scope = std::make_unique<StageScope>(installation->registry, loaded.components, media->store(),
                                         loaded.seed, folder.path() / "scratch",
                                         [](LogLevel, std::string_view) {});
    options.answer = [&](const mock::Request& request) -> std::string {
      simdjson::dom::parser parser;
      element body;
      if (parser.parse(request.body).get(body)) return "no JSON";
      try {
        return scope->context()
            .component<Mllm>(text_of(body, "model"))
            ->chat(request_of(body, media->store()))
            .text;
      } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return std::string("mock endpoint: ") + error.what();
      }
    };
  }
  if (faults > 0) {
    const std::vector<std::string> passing{"429_ms", "500_html", "503_html", "closed_in_body",
                                           "closed_before_headers"};
    options.choose = [faults, passing](const mock::Request& request) {
      const std::uint64_t hash = stable_hash(request.body);
      return static_cast<double>(hash % 1000) < 1000 * faults
                 ? passing[hash / 1000 % passing.size()]
                 : std::string("ok");
    };
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  const mock::Endpoint endpoint(options);
  std::cout << "listening at " << endpoint.url() << " (Ctrl-C ends it)" << std::endl;
  int which = 0;
  sigwait(&ends, &which);
  std::cout << fmt::format("{} calls, {} answered\n", endpoint.asked(), endpoint.answered());
  return 0;
}

}  // namespace
}  // namespace dt2it

int main(int argc, char** argv) {
  try {
    return dt2it::enter(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
  }
}
