"""Algorithm 1 once more, as plainly as possible: one problem, no cache, no batch, float64, written from the paper.

It shares no code with the kit but the model itself. `test_seek.py` compares the two.
"""

from dataclasses import dataclass

import torch


@dataclass
class PlainStep:
    prefix_ids: list[int]
    answer_ids: list[int]
    loss: float | None
    latent_norm: float


class PlainSearch:
    """`model` is a causal language model in float64, `reward` a function of the answer's ids."""

    def __init__(self, model, stop_ids, reward):
        self.model, self.stop_ids, self.reward = model, stop_ids, reward

    def forward(self, ids):
        """The last hidden state and the logits at the last position."""
        out = self.model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        return out.hidden_states[-1][0, -1], out.logits[0, -1]

    def logits(self, z):
        """The head as the model itself applies it: scale and cap included."""
        logits, config = self.model.get_output_embeddings()(z), self.model.config
        logits = logits * (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
        cap = getattr(config, "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits

    @torch.no_grad()
    def decode(self, prompt, answer, limit):
        """Continues an answer greedily, one whole forward a token; returns it with the states its new tokens were read from."""
        answer, states = list(answer), []
        while len(answer) < limit and not (answer and answer[-1] in self.stop_ids):
            state, logits = self.forward(prompt + answer)
            states.append(state)
            answer.append(int(logits.argmax()))
        return answer, states

    def __call__(self, prompt, rho, lr, iterations, threshold, limit, adam=True):
        answer, states = self.decode(prompt, [], limit)
        n, r = int(rho * len(answer)), self.reward(answer)
        z = torch.stack(states[:n]).clone().requires_grad_() if n else torch.zeros(0)
        steps, prefix = [PlainStep(answer[:n], answer, None, z.norm().item())], answer[:n]
        m = v = 0
        for k in range(1, iterations + 1):
            if r > threshold or n == 0:
                break
            log_probability = torch.log_softmax(self.logits(z[: len(prefix)]), -1)
            loss = -r * log_probability[range(len(prefix)), prefix].sum()
            (g,) = torch.autograd.grad(loss, z)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            update = (m / (1 - 0.9**k)) / ((v / (1 - 0.999**k)).sqrt() + 1e-8) if adam else g
            z = (z - lr * update).detach().requires_grad_()
            tokens = self.logits(z).argmax(-1).tolist()
            end = next((t for t, token in enumerate(tokens, 1) if token in self.stop_ids), n)
            prefix = tokens[:end]
            answer, _ = self.decode(prompt, prefix, limit)
            r = self.reward(answer)
            steps.append(PlainStep(prefix, answer, loss.item(), z.norm().item()))
        return steps
