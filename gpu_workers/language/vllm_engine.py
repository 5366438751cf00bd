"""vLLM's AsyncLLM as a TokenEngine: prompts in, words and calls of tools out, aborts, prompts read ahead.

AsyncLLM runs the model in a process of its own (it knows no other way), so a step never holds up our asyncio loop; the
loop only renders prompts and turns tokens into text.
"""

import contextlib
import itertools
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.exceptions import VLLMClientError, VLLMError, VLLMValidationError
from vllm.outputs import RequestOutput
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from config.errors import ConfigError, DeviceLost, PromptTooLong, StageFailed
from config.messages import ChatMessage, ToolCall
from gpu_workers.engine import Prompt, Usage
from gpu_workers.language import chat_messages, reaper
from gpu_workers.language.calls import Calls
from gpu_workers.language.vllm_settings import Settings

log = logging.getLogger(__name__)

#: Short answers before the worker says it is ready: the first takes several times as long as the third.
HELLOS = 3

#: Order in vLLM's queue, the lowest first: a prompt that only may come waits for those that came.
NOW, PERHAPS = 0, 1

#: Of the KV cache on a CPU, in tokens; see Settings.block_size.
CPU_BLOCK = 32


class VllmLlm:
    """One AsyncLLM; as many sequences as it was set up for."""

    continues = True

    def __init__(self, settings: Settings, slots: int, model: str, *, cpu: bool) -> None:
        self.slots = slots
        self.calls_tools = bool(settings.tool_call_parser)
        self._settings = settings
        self._arguments = _arguments(settings, slots, model, cpu)
        self._engine: Any = None
        self._renderer: Any = None
        self._marks: re.Pattern[str] | None = None
        self._reaper: Any = None
        self._numbers = itertools.count(1)
        self._ahead: dict[str, str] = {}
        """Requests that read a prompt ahead, by session."""

    async def warm_up(self) -> None:
        """Loads the model and lets it talk. ConfigError when vLLM refuses it; the reason may stand in its own log."""
        self._reaper = reaper.watch()
        try:
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._arguments))
            self._renderer = self._make_renderer()
        except (RuntimeError, ValueError, TypeError, OSError, KeyError, VLLMError) as error:
            raise ConfigError(f"vLLM cannot serve {self._arguments['model']!r}: {error}") from error
        tokenizer = self._engine.renderer.get_tokenizer()
        self._marks = chat_messages.marks_of([*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens])
        for _ in range(HELLOS):
            hello = Prompt([ChatMessage("user", "Hello")], max_tokens=4)
            async with contextlib.aclosing(self.generate(hello, Usage())) as pieces:
                async for _ in pieces:
                    pass

    def _make_renderer(self) -> Any:
        settings = self._settings
        return OnlineRenderer(
            self._engine.model_config,
            self._engine.renderer,
            request_logger=None,
            chat_template=None,
            chat_template_content_format="auto",
            enable_auto_tools=bool(settings.tool_call_parser),
            exclude_tools_when_tool_choice_none=True,
            tool_parser=settings.tool_call_parser or None,
            tool_strict_level="parameter",  # a call is held to the tool's schema while it is written
            reasoning_parser=settings.reasoning_parser or None,
            default_chat_template_kwargs=settings.chat_template_kwargs,
        )

    async def prefill(self, prompt: Prompt) -> None:
        """Has the prompt's blocks computed; they stay in the prefix cache. Whatever comes for the session ends it."""
        await self._overtake(prompt.session)
        name = self._name()
        if prompt.session:
            self._ahead[prompt.session] = name
        try:
            with contextlib.suppress(StageFailed, PromptTooLong):
                request, rendered = await self._render(prompt, 1)
                async with contextlib.aclosing(self._run(request, rendered, name, PERHAPS)) as outputs:
                    async for _ in outputs:
                        pass
        finally:
            if self._ahead.get(prompt.session) == name:
                del self._ahead[prompt.session]

    async def generate(self, prompt: Prompt, usage: Usage) -> AsyncGenerator[str | ToolCall, None]:
        """The answer; of `prompt.answered` nothing is said again. Closing it aborts the request."""
        await self._overtake(prompt.session)
        request, rendered = await self._render(prompt, prompt.max_tokens)
        usage.input_tokens = len(rendered["prompt_token_ids"])
        answer = _Answer(self._parser(request), request, spaced=prompt.answered[-1:].isspace())
        async with contextlib.aclosing(self._run(request, rendered, self._name(), NOW)) as outputs:
            async for output in outputs:
                usage.output_tokens += len(output.outputs[0].token_ids)
                usage.stopped = "length" if output.outputs[0].finish_reason == "length" else "stop"
                for piece in answer.take(output):
                    yield piece
        for call in answer.finish(cut=usage.stopped == "length"):
            yield call

    async def unfinished(self) -> int:
        """Requests there are, once the engine core has obeyed everything it was told before."""
        await self._engine.engine_core.is_scheduler_paused_async()
        return int(self._engine.get_num_unfinished_requests())

    async def close(self) -> None:
        """Ends the engine core."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = self._renderer = None
        if self._reaper is not None:
            self._reaper.kill()
            self._reaper.wait()

    def _name(self) -> str:
        return f"r{next(self._numbers)}"

    async def _overtake(self, session: str) -> None:
        """What was being read ahead for it ends; the blocks that are done stay in the cache."""
        if name := self._ahead.pop(session, None):
            await self._engine.abort(name)

    async def _render(self, prompt: Prompt, max_tokens: int) -> tuple[Any, Any]:
        request = ChatCompletionRequest(**self._asked(prompt, max_tokens))
        try:
            rendered = await self._renderer.render_chat(request)
        except VLLMValidationError as error:
            if getattr(error, "parameter", "") in ("input_tokens", "input_text"):
                raise PromptTooLong("what was said does not fit into the model's context") from error
            raise StageFailed(f"vLLM refused the prompt: {error.parameter}") from error
        except (VLLMClientError, ValueError, TypeError) as error:  # the chat template knows no such role
            raise StageFailed(f"vLLM refused the prompt: {type(error).__name__}") from error
        if not isinstance(rendered, tuple):
            raise StageFailed(f"vLLM refused the prompt: {rendered.error.type}")
        return request, rendered[1][0]

    def _asked(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        settings = self._settings
        max_tokens = min(max_tokens, settings.max_model_len // 2)
        messages = [*prompt.messages]
        answered = prompt.answered.rstrip()
        if answered:
            messages.append(ChatMessage("assistant", answered))
        fitting = chat_messages.fitting(messages, settings.max_model_len - max_tokens)
        asked: dict[str, Any] = {
            "messages": chat_messages.chat(fitting, self._marks),
            "max_completion_tokens": max_tokens,
            "temperature": prompt.temperature,
            "top_p": settings.top_p,
            "min_p": settings.min_p,
            "repetition_penalty": settings.repetition_penalty,
            "stream": True,
            "continue_final_message": bool(answered),
            "add_generation_prompt": not answered,
        }
        if prompt.tools and settings.tool_call_parser:
            asked["tools"] = chat_messages.functions(prompt.tools)
            asked["tool_choice"] = chat_messages.choice(prompt.tool_choice)
        return asked

    def _parser(self, request: Any) -> Any:
        """Which parts of the answer are words, calls or thoughts; None where all of it is words."""
        make = self._renderer.parser
        if make is None:
            return None
        return make(
            self._engine.renderer.get_tokenizer(),
            request.tools,
            model_config=self._engine.model_config,
            chat_template_kwargs=self._renderer.effective_chat_template_kwargs(request),
        )

    async def _run(
        self, request: Any, rendered: Any, name: str, priority: int
    ) -> AsyncGenerator[RequestOutput, None]:
        defaults = self._engine.model_config.get_diff_sampling_param()
        params = request.to_sampling_params(request.max_completion_tokens, defaults)
        try:
            async with contextlib.aclosing(
                self._engine.generate(rendered, params, name, priority=priority)
            ) as outputs:
                async for output in outputs:
                    yield output
        except EngineDeadError as error:
            raise DeviceLost("vLLM's engine core died; its own log says of what") from error
        except VLLMError as error:
            raise StageFailed(f"vLLM failed: {type(error).__name__}") from error


class _Answer:
    """What of one answer is said, and which calls it asks for."""

    def __init__(self, parser: Any, request: Any, *, spaced: bool) -> None:
        self._parser = parser
        self._request = request
        self._spaced = spaced
        """What it goes on with ended in a space, and it may begin with another."""
        self._calls = Calls()

    def take(self, output: RequestOutput) -> Sequence[str | ToolCall]:
        """What became known by an output."""
        new = output.outputs[0]
        if self._parser is None:
            return self._words(new.text)
        delta = self._parser.parse_delta(
            delta_text=new.text,
            delta_token_ids=list(new.token_ids),
            request=self._request,
            prompt_token_ids=output.prompt_token_ids,
            finished=new.finish_reason is not None,
        )
        if delta is None:
            return []
        found: list[str | ToolCall] = [*self._words(delta.content or "")]
        for position, call in enumerate(delta.tool_calls or ()):
            found += self._calls.add_delta(call.model_dump(), position)
        return found

    def _words(self, text: str) -> list[str]:
        if self._spaced:
            text = text.lstrip()
            self._spaced = not text
        return [text] if text else []

    def finish(self, *, cut: bool) -> Sequence[ToolCall]:
        """Calls that were whole only because nothing followed; cut: the answer had no more room."""
        return self._calls.finish(cut=cut)


def _arguments(settings: Settings, slots: int, model: str, cpu: bool) -> dict[str, Any]:
    """For AsyncEngineArgs."""
    given = {
        "model": model,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "kv_cache_memory_bytes": settings.kv_cache_mb and settings.kv_cache_mb << 20,
        "max_num_seqs": settings.max_num_seqs or 2 * slots,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "block_size": settings.block_size or (CPU_BLOCK if cpu else None),
        "distributed_executor_backend": "uni" if cpu else None,
        "enforce_eager": settings.enforce_eager,
        "seed": settings.seed,
        "enable_prefix_caching": True,
        "enable_log_requests": False,  # they hold what was said
        "disable_log_stats": True,
        "scheduling_policy": "priority",
    }
    return {name: value for name, value in given.items() if value is not None} | settings.extra
