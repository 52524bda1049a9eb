"""Hooks of defences: architecture, data, training, repair and inference."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Keep, Spec, Victim


class DefenseBuild(Protocol):
    """Change of the victim's architecture."""

    def build(self, victim: Victim, spec: Spec) -> nn.Module:
        """Return an untrained network in place of ``victim.build(spec)``.

        Optional.

        Called:
            In every process that needs the defended network (stages ``train``, ``repair``,
            ``attack``, ``predict`` and others), many times for one trained network. Weights are
            loaded into the result afterwards, so every call must return the same architecture.

        Args:
            victim: the network family; ``victim.build(spec)`` is its own network.
            spec: the data set's task, number of outputs and input shape. The network may depend on
                nothing else.

        Returns:
            A network that takes inputs in [0, 1] and returns the task's outputs. Its tensors
            outside ``victim.head`` keep their names and shapes where the student starts from a
            public or delivered network.

        Raises:
            NotApplicable: the change does not exist for this victim or these inputs.

        Withheld:
            All data. Torch's global generator is seeded before each call.

        Example:
            def build(self, victim, spec):
                network = victim.build(spec)
                last = network.get_submodule(victim.head)
                nn.utils.parametrizations.spectral_norm(last)
                return network
        """
        ...


class DefenseSanitize(Protocol):
    """Choice of the training examples to keep, before the victim is trained."""

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        """Return which training examples to keep, and corrected labels if any.

        Optional. Applies in ``poisoning`` and ``backdoor``.

        Called:
            Stage ``sanitize``, once for each training set, before ``train``; also on the clean
            training set of the control. The harness removes the examples.

        Args:
            victim: the network family, with its training recipe ``victim.fit``.
            network: an untrained network, or the one that training would start from; the hook may
                train it. It is thrown away afterwards.
            train: the training set, edited by the attack or not.
            ctx: seeds, the device, and a folder for temporary files (``ctx.scratch``).

        Returns:
            ``Keep``: a bool mask ``[N]``, true for the examples that stay, with at least one true;
            and corrected labels of the form of ``train.y``, or ``None``.

        Raises:
            NotApplicable: the method does not exist for this kind of data.

        Withheld:
            Which examples were edited and how many, whether there was an attack, and test data.

        Example:
            def sanitize(self, victim, network, train, ctx):
                loss = loss_of(victim, train.spec)
                victim.fit(network, train, train, loss, ctx)
                with eval_mode(network):
                    losses = torch.cat([loss(network, x, y) for x, y in train.batches(256)])
                return Keep(mask=losses <= losses.quantile(0.9))
        """
        ...


class DefenseFit(Protocol):
    """Training of the defended network in place of the victim's recipe."""

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        """Train the network in place.

        Optional. Without it the victim's recipe runs, with the defence's ``loss`` if it has one.

        Called:
            Stage ``train``, once for each training set and seed. All attacks on the trained
            network share it.

        Args:
            victim: the network family. ``victim.fit(network, train, val, loss, ctx, recipe)``
                trains it, ``victim.recipe(train)`` is its recipe, ``loss_of(victim, spec)`` its
                loss.
            network: the network to train, from ``build``; its weights are untrained, or come from
                the public, delivered or imported network.
            train: the training set, edited and sanitized where the threat model has that.
            val: the validation set.
            adversary: ``adversary(network, x, y)`` returns attacked inputs, made by the attack
                that the benchmark's entry names under ``adversary``; ``None`` without such an
                entry.
            ctx: seeds, the device, ``ctx.checkpoint`` (survives a kill), ``ctx.metric`` for
                training curves.

        Returns:
            Nothing. The network's weights are saved after the call.

        Raises:
            NotApplicable: the defence needs an adversary and has none, or does not exist for this
                task.

        Withheld:
            Test data, and the attacks and budgets that the benchmark plans.

        Example:
            def fit(self, victim, network, train, val, adversary, ctx):
                own = loss_of(victim, train.spec)

                def loss(net, x, y):
                    return own(net, adversary(net, x, y), y)

                victim.fit(network, train, val, loss, ctx)
        """
        ...


class DefenseLoss(Protocol):
    """Training loss in place of the victim's."""

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return one loss value for each example.

        Optional. The victim's recipe minimises its mean, unless the defence has ``fit``.

        Called:
            Stage ``train``, at every training step. In ``attack`` also through
            ``model.training_loss``, by attacks that ask for it; then ``network`` may be a function
            that returns given outputs.

        Args:
            network: the network, in train mode; in eval mode when an attack calls.
            x: inputs, float32 in [0, 1], ``[B, …]``; in ranking the items that the batch names.
            y: labels. Classification int64 ``[B]``; segmentation uint8 ``[B, H, W]``,
                void where it is ``spec.void``; ranking int64 ``[B, arity + 2]``: rows of ``x``,
                label ±1, attribute.

        Returns:
            float ``[B]``, one value an example, never reduced, differentiable in the parameters
            and in ``x``.

        Raises:
            NotApplicable: the loss does not exist for this task.

        Withheld:
            Which examples were edited.

        Example:
            def loss(self, network, x, y):
                logits = network(x)
                return F.cross_entropy(logits, y, reduction="none", label_smoothing=0.1)
        """
        ...


class DefenseRepair(Protocol):
    """Repair of a trained network with a few clean examples."""

    def repair(
        self, victim: Victim, network: nn.Module, clean: Data, ctx: Context
    ) -> nn.Module | None:
        """Repair the network in place, or return another one.

        Optional.

        Called:
            Stage ``repair``, once for each trained network, after ``train``; also on the control's
            network.

        Args:
            victim: the network family, with its training recipe.
            network: the trained network, trainable.
            clean: clean examples cut from the validation set; the benchmark's ``clean`` says how
                many.
            ctx: seeds, the device, ``ctx.checkpoint``.

        Returns:
            ``None`` after a repair in place, or the repaired network. Its tensors must have the
            names, shapes and types of the network that ``build`` returns.

        Raises:
            NotApplicable: the method does not exist for this architecture.

        Withheld:
            The training set, test data, and whether the network was attacked.

        Example:
            def repair(self, victim, network, clean, ctx):
                loss = loss_of(victim, clean.spec)
                recipe = replace(victim.recipe(clean), steps=100)
                victim.fit(network, clean, clean, loss, ctx, recipe)
        """
        ...


class DefenseGuard(Protocol):
    """Layer around the trained network: what answers at inference time."""

    def guard(self, network: nn.Module, ctx: Context) -> nn.Module:
        """Return a network that answers in place of the trained one.

        Optional.

        Called:
            In every process that holds the defended network (stage ``predict``, and the network
            that answers an attack), once, after the weights are loaded. White-box attacks run in
            another process; what the result answers and its gradients go there.

        Args:
            network: the trained network. Both are set to eval mode afterwards.
            ctx: seeds, the device and the data set's ``spec``. ``ctx.state`` belongs to the
                attack and must not be used.

        Returns:
            A module that takes inputs in [0, 1] of the same shape, does not write into them, and
            returns the same kind of outputs in float32. Where its gradient is zero or approximate
            the manifest says ``gradients: approximate``; where it draws random numbers,
            ``random: true``: it must draw alike for an attack and the judge.

        Raises:
            NotApplicable: the guard does not exist for this shape of inputs.

        Withheld:
            Labels, clean inputs, and whether an input was attacked.

        Example:
            def guard(self, network, ctx):
                blur = nn.AvgPool2d(3, stride=1, padding=1)
                return nn.Sequential(blur, network)
        """
        ...
